"""The stack on AWS: buckets, queues, functions, an HTTP API, schedules and jobs, derived from shared.topology.

No compute runs while the stack is idle. Only the API accepts connections, and its closed routes require a token of the
configured issuer. Every function has its own role, with exactly the rights of infra/plan.py.
"""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from infra import plan
from infra.aws_endpoint import Endpoints
from infra.aws_functions import MEASURED, Functions, packages_of
from infra.aws_jobs import Jobs
from infra.aws_monitoring import monitoring
from infra.aws_policies import Places
from infra.aws_queues import Queues
from infra.aws_stores import Stores
from infra.components import Platform, Vault, keeping
from infra.configuration import NAMESPACE, Configuration
from infra.settings_document import settings_document
from infra.signing_key import SigningKey
from shared.errors import ConfigurationError
from shared.topology import FUNCTIONS, Function

SIGNING_KEY = "signing-key"
"""The name of the one secret in the topology."""
_DAYS_TO_RECOVER = 30
_MAX_UPLOAD_BYTES = 4_500_000
"""Fits a synchronous call of 6 MB in base64. Larger files are put into the landing bucket directly."""


def declare(configuration: Configuration, functions: Sequence[Function] = FUNCTIONS) -> None:
    """Declare a stack on AWS. Exports: url, landing, settings; kept: what outlives `down`.

    Raises: ConfigurationError: the topology cannot be deployed, or AWS does not offer what the configuration
        asks for.
    """
    plan.check(functions)
    _check(configuration)
    here = plan.placed(configuration, functions)
    packages = packages_of(configuration, here)
    name = configuration.name
    provider = aws.Provider(
        "aws",
        region=configuration.region,
        default_tags={"tags": {"tidegate:stack": name, **configuration.tags}},
    )
    platform = Platform("tidegate", provider=provider)
    stores = Stores(platform, configuration)
    queues = Queues(platform, configuration, here)
    key, secret_arn, secrets_url = _secrets(platform, configuration)
    jobs = Jobs(platform, configuration, here)
    urls: Mapping[str, pulumi.Input[str]] = {
        **stores.urls,
        "queues": queues.url,
        "jobs": jobs.url,
        "metrics": configuration.ports.metrics
        or f"cloudwatch://{configuration.region}/{name}?log_group=/aws/lambda/{name}-{MEASURED}",
        "limits": f"lambda://{configuration.region}/{name}-",
        "secrets": secrets_url,
    }
    settings = settings_document(configuration, urls, key, max_upload_bytes=_MAX_UPLOAD_BYTES)
    places = Places(
        buckets=stores.arns,
        queues=queues.arns,
        secrets={SIGNING_KEY: secret_arn},
        definitions=jobs.definition_arns,
        cluster=jobs.cluster_arn,
        job_roles=jobs.role_arns,
        key=configuration.kms_key,
    )
    jobs.define(here, places, settings)
    deployed = Functions(platform, configuration, here, packages, places, settings)
    queues.trigger(deployed)
    stores.notify(queues)
    endpoint = Endpoints(platform, configuration, deployed)
    monitoring(platform, configuration, here, queues, deployed)
    platform.done({"url": endpoint.url})
    pulumi.export("url", endpoint.url)
    pulumi.export("landing", urls["landing"])
    pulumi.export("settings", settings)
    if configuration.keep_data:
        pulumi.export("kept", f"buckets {name}-landing, {name}-system, {name}-capture, and secret {name}-{SIGNING_KEY}")


def _check(configuration: Configuration) -> None:
    if configuration.kms_key and not configuration.kms_key.startswith("arn:"):
        raise ConfigurationError(
            f"{NAMESPACE}kmsKey is {configuration.kms_key[:80]!r}: write the key's ARN, arn:aws:kms:..., which IAM "
            "statements need"
        )
    if configuration.ports.queues:
        raise ConfigurationError(
            f"{NAMESPACE}ports.queues is {configuration.ports.queues[:80]!r}: Lambda consumes queues of its own "
            "account only; leave it out, or place the functions with queues on a host (docs/clouds.md)"
        )
    if configuration.ports.landing and not configuration.ports.landing.startswith("s3:"):
        raise ConfigurationError(
            f"{NAMESPACE}ports.landing is {configuration.ports.landing[:80]!r}: on AWS only S3 sends events of new "
            "objects; leave it out, or place validate and reconcile where that store is"
        )


def _secrets(
    platform: Platform, configuration: Configuration
) -> tuple[SigningKey, pulumi.Output[str] | None, pulumi.Input[str]]:
    """Return the signing key, the ARN of its secret, and the port's URL."""
    vault = Vault("vault", platform)
    keep = configuration.keep_data
    given = configuration.ports.secrets
    if given:
        key = SigningKey(SIGNING_KEY, "infra.external_vault", {"url": given}, keeping(vault, keep))
        vault.done()
        return key, None, given
    prefix = f"{configuration.name}-"
    secret = aws.secretsmanager.Secret(
        SIGNING_KEY,
        name=prefix + SIGNING_KEY,
        description="The Ed25519 key that signs models",
        kms_key_id=configuration.kms_key or None,
        recovery_window_in_days=_DAYS_TO_RECOVER if keep else 0,
        opts=keeping(vault, keep),
    )
    place = {"region": configuration.region, "secret": secret.arn}
    key = SigningKey(SIGNING_KEY, "infra.aws_vault", place, keeping(vault, keep, secret))
    vault.done({"secret": secret.arn})
    return key, secret.arn, f"secretsmanager://{configuration.region}/{prefix}"
