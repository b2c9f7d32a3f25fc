"""The key that signs a stack's models: created once, in the provider's secret store and nowhere else.

Only its public half is an output: the private key is never in Pulumi's state, a log or an argument. It is a dynamic
resource: its provider is pickled by reference and runs in a process of the engine, with the operator's credentials.
"""

from importlib import import_module
from typing import Any, Protocol

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult


class Vault(Protocol):
    """A module that reads and writes the provider's secrets. `place`: where the secret is; each module documents it."""

    def read(self, place: dict[str, Any]) -> bytes | None:
        """Return the secret's latest version, None where it has none."""
        ...

    def put(self, place: dict[str, Any], value: bytes) -> None:
        """Write a new version of the secret."""
        ...


class _SigningKey(ResourceProvider):
    serialize_as_secret_always = False  # it is pickled by reference and holds no secret

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Create the key, unless the secret has one, kept from a stack that was taken down."""
        import os

        from shared.registry.signatures import generate

        vault: Any = import_module(props["vault"])
        existing = vault.read(props["place"])
        if existing is None:
            existing = generate(os.urandom(32))
            vault.put(props["place"], existing)
        outputs = _outputs(props, existing)
        return CreateResult(id_=outputs["key_id"], outs=outputs)

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        moved = [key for key in ("vault", "place") if olds.get(key) != news.get(key)]
        lost = [] if olds.get("public") else ["place"]
        return DiffResult(changes=bool(moved or lost), replaces=moved or lost, stables=["key_id", "public"])

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(outs={**olds, **news})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        vault: Any = import_module(props["vault"])
        existing = vault.read(props["place"])
        if existing is None:
            return ReadResult(id_="", outs={})
        return ReadResult(id_=id_, outs=_outputs(props, existing))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Do nothing: the key is kept or deleted with its secret."""


class SigningKey(Resource, module="tidegate", name="SigningKey"):
    """The key in a secret. Args: vault: name of a `Vault` module. place: passed to it; may contain outputs.

    Outputs: `key_id`, and `public`, base64url of the raw 32 bytes: a trust root of the settings.
    """

    key_id: pulumi.Output[str]
    public: pulumi.Output[str]

    def __init__(self, name: str, vault: str, place: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        props = {"vault": vault, "place": place, "key_id": None, "public": None}
        super().__init__(_SigningKey(), name, props, opts)


def _outputs(props: dict[str, Any], private_pem: bytes) -> dict[str, Any]:
    import base64

    from shared.registry.signatures import key_id_of, public_of

    public = base64.urlsafe_b64encode(public_of(private_pem)).rstrip(b"=").decode()
    return {**props, "key_id": key_id_of(private_pem), "public": public}
