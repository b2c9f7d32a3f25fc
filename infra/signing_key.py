"""The key by which a stack signs its models: made once, put where the provider keeps secrets, and nowhere else.

Only its public half is an output, so that no state of Pulumi's, no log and no argument ever holds the key. A dynamic
resource: its provider is pickled by reference and runs in a process of the engine's, with the operator's credentials.
"""

from importlib import import_module
from typing import Any, Protocol

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult


class Vault(Protocol):
    """A module that reaches the provider's secrets; `place` says where the one is, in the provider's words."""

    def read(self, place: dict[str, Any]) -> bytes | None:
        """Return the secret's newest value, None where it has none."""
        ...

    def put(self, place: dict[str, Any], value: bytes) -> None:
        """Give the secret a value."""
        ...


class _SigningKey(ResourceProvider):
    serialize_as_secret_always = False  # it is named, not copied: there is nothing in it to be hidden

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the key, unless the secret has one: that of a stack that was taken down and kept its data."""
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
        """Leave it to the secret, which goes, or stays, with all that is in it."""


class SigningKey(Resource, module="tidegate", name="SigningKey"):
    """The key that is in a secret. Args: vault: the module of a `Vault`. place: given to it; outputs may be in it.

    Outputs: `key_id`, and `public`, base64url of the raw 32 bytes: what settings call a trust root.
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
