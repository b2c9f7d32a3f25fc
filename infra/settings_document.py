"""The settings of a stack on a cloud: one document for all of its functions and jobs."""

from collections.abc import Mapping
from typing import Any

import pulumi

from functions.runtimes.compose import with_training_digests
from infra.configuration import Configuration
from infra.signing_key import SigningKey
from shared.documents import encode
from shared.errors import MissingDependency
from shared.settings import Settings, Stores

PORTS = ("landing", "system", "capture", "queues", "jobs", "metrics", "limits", "secrets")


def settings_document(
    configuration: Configuration, urls: Mapping[str, pulumi.Input[str]], key: SigningKey, **changes: Any
) -> pulumi.Output[str]:
    """Return the settings as JSON. They hold no secret.

    Args: urls: name of PORTS -> URL. key: the signing key; its public half is used. changes: other settings
        of the provider, such as `max_upload_bytes`.
    """
    known = {name: urls[name] for name in PORTS}

    def made(found: Mapping[str, Any]) -> str:
        given = {name: found[name] for name in PORTS}
        settings = Settings(
            stack=configuration.name,
            stores=Stores(**{name: given.pop(name) for name in ("landing", "system", "capture")}),
            issuer=configuration.issuer,
            audience=configuration.audience,
            trust_roots={found["key_id"]: found["public"]},
            token_keys={},  # those that the issuer publishes
            place=configuration.place,
            placement=configuration.placement,
            monitor_every_s=configuration.monitor_every_s,
            reconcile_every_s=configuration.reconcile_every_s,
            **given,
            **changes,
        )
        try:
            settings = with_training_digests(settings)
        except MissingDependency as error:
            raise MissingDependency(
                f"{error.message}; provisioning reads the train unit's libraries for the settings"
            ) from error
        return encode(settings).decode()

    return pulumi.Output.all(key_id=key.key_id, public=key.public, **known).apply(made)
