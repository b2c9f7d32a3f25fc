"""The stack on Google Cloud: buckets, topics, Cloud Run functions, an API gateway, schedules and a job, derived from
shared.topology.

No compute runs while the stack is idle. Every function has its own service account, with the rights of infra/plan.py.
A service accepts calls of one account only: the gateway's, the subscriptions' or the scheduler's. Nothing is public.
The gateway's closed routes require a token of the configured issuer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_gcp as gcp

from infra import plan
from infra.components import Platform, Vault, keeping
from infra.configuration import NAMESPACE, Configuration
from infra.gcp_endpoint import endpoint_of
from infra.gcp_functions import Accounts, Functions, packages_of
from infra.gcp_jobs import job_of
from infra.gcp_monitoring import monitoring
from infra.gcp_queues import Queues
from infra.gcp_stores import Stores
from infra.settings_document import settings_document
from infra.signing_key import SigningKey
from shared.errors import ConfigurationError
from shared.topology import FUNCTIONS, Function

SIGNING_KEY = "signing-key"
_LONGEST_NAME = 20
"""Longest stack name: with a function's name it makes a service account's id, which has at most 30 characters."""
_MAX_UPLOAD_BYTES = 32 * 1024 * 1024
"""Cloud Run's limit of a request over HTTP/1."""


def declare(configuration: Configuration, functions: Sequence[Function] = FUNCTIONS) -> None:
    """Declare a stack on Google Cloud. Exports: url, landing, settings; kept: what outlives `down`.

    Raises: ConfigurationError: the topology cannot be deployed, or Google Cloud does not offer what the
        configuration asks for.
    """
    plan.check(functions)
    _check(configuration)
    here = plan.placed(configuration, functions)
    packages = packages_of(configuration, here)
    name, project, region = configuration.name, configuration.project, configuration.region
    provider = gcp.Provider(
        "gcp", project=project, region=region, default_labels={"tidegate-stack": name, **configuration.tags}
    )
    platform = Platform("tidegate", provider=provider)
    accounts = Accounts(platform, configuration, here)
    stores = Stores(platform, configuration)
    queues = Queues(platform, configuration, here)
    key, secret, secrets_url = _secrets(platform, configuration)
    urls: Mapping[str, pulumi.Input[str]] = {
        **stores.urls,
        "queues": queues.url,
        "jobs": configuration.ports.jobs or f"cloudrun://{project}/{region}/{name}-job",
        "metrics": configuration.ports.metrics or "cloudmonitoring://telemetry.googleapis.com",
        "limits": f"cloudfunctions://{project}/{region}",
        "secrets": secrets_url,
    }
    settings = settings_document(configuration, urls, key, max_upload_bytes=_MAX_UPLOAD_BYTES)
    for function in here:
        if function.job:
            continue  # gcp_jobs.py
        stores.grant(function, accounts)
        queues.grant(function, accounts)
    if secret is not None:
        for function in here:
            if SIGNING_KEY in function.secrets:
                gcp.secretmanager.SecretIamMember(
                    f"{function.name}-{SIGNING_KEY}",
                    secret_id=secret.id,
                    role="roles/secretmanager.secretAccessor",
                    member=accounts.member(function.name),
                    opts=pulumi.ResourceOptions(parent=accounts.parts[function.name]),
                )
    job_of(platform, configuration, here, accounts, stores, queues, settings)
    deployed = Functions(platform, configuration, here, packages, accounts, settings)
    queues.trigger(deployed)
    stores.notify(queues)
    url = endpoint_of(platform, configuration, deployed)
    monitoring(platform, configuration, queues, deployed)
    platform.done({"url": url})
    pulumi.export("url", url)
    pulumi.export("landing", urls["landing"])
    pulumi.export("settings", settings)
    if configuration.keep_data:
        pulumi.export("kept", f"buckets {name}-landing, {name}-system, {name}-capture, and secret {name}-{SIGNING_KEY}")


def _check(configuration: Configuration) -> None:
    if len(configuration.name) > _LONGEST_NAME:
        raise ConfigurationError(
            f"{NAMESPACE}name is {configuration.name!r}: on Google Cloud it has at most {_LONGEST_NAME} characters"
        )
    for tag, value in configuration.tags.items():
        if tag.lower() != tag or value.lower() != value:
            raise ConfigurationError(
                f"{NAMESPACE}tags has {tag}={value[:60]!r}: write it in lower case, as Google's labels are"
            )
    if configuration.ports.queues and not configuration.ports.queues.startswith("pubsub:"):
        raise ConfigurationError(
            f"{NAMESPACE}ports.queues is {configuration.ports.queues[:80]!r}: Pub/Sub triggers these functions; leave "
            "it out, or place the functions with queues on a host (docs/clouds.md)"
        )
    if configuration.ports.landing and not configuration.ports.landing.startswith("gs:"):
        raise ConfigurationError(
            f"{NAMESPACE}ports.landing is {configuration.ports.landing[:80]!r}: here Cloud Storage alone sends "
            "events of new objects; leave it out, or place validate and reconcile where that store is"
        )


def _secrets(
    platform: Platform, configuration: Configuration
) -> tuple[SigningKey, gcp.secretmanager.Secret | None, pulumi.Input[str]]:
    """Return the signing key, the secret that holds it, and the port's URL."""
    vault = Vault("vault", platform)
    keep, given = configuration.keep_data, configuration.ports.secrets
    if given:
        key = SigningKey(SIGNING_KEY, "infra.external_vault", {"url": given}, keeping(vault, keep))
        vault.done()
        return key, None, given
    prefix = f"{configuration.name}-"
    replica: Any = {"location": configuration.region}
    if configuration.kms_key:
        replica["customer_managed_encryption"] = {"kms_key_name": configuration.kms_key}
    secret = gcp.secretmanager.Secret(
        SIGNING_KEY,
        secret_id=prefix + SIGNING_KEY,
        replication={"user_managed": {"replicas": [replica]}},
        opts=keeping(vault, keep),
    )
    key = SigningKey(SIGNING_KEY, "infra.gcp_vault", {"secret": secret.name}, keeping(vault, keep, secret))
    vault.done({"secret": secret.name})
    return key, secret, f"secretmanager://{configuration.project}/{prefix}"
