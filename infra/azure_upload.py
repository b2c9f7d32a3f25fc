"""A Function App's package in the blob container that the app reads, uploaded with the operator's credentials.

It is a dynamic resource: the provider's own resource for blobs signs with an account key, and these accounts have key
access disabled. Its provider is pickled by reference and runs in a process of the engine.
"""

from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

BLOB = "released-package.zip"
"""The blob that an app on Flex Consumption starts from (Azure Functions, "Deployment technologies", one deploy)."""


class _Upload(ResourceProvider):
    serialize_as_secret_always = False  # it is pickled by reference and holds no secret

    def create(self, props: dict[str, Any]) -> CreateResult:
        _put(props)
        return CreateResult(id_=f"{props['store']}/{BLOB}", outs=props)

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        replaces = ["store"] if olds.get("store") != news.get("store") else []
        return DiffResult(changes=bool(replaces) or olds.get("digest") != news.get("digest"), replaces=replaces)

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _put(news)
        return UpdateResult(outs=news)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        from adapters.urls import open_store

        found = open_store(props["store"]).head(BLOB)
        return ReadResult(id_=id_ if found else "", outs=props if found else {})

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Do nothing: deleting the container deletes the blob."""


class Upload(Resource, module="tidegate", name="AppPackage"):
    """A package in a store. Args: store: the port's URL. path, digest: of the zip."""

    def __init__(
        self, name: str, store: pulumi.Input[str], path: str, digest: str, opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(_Upload(), name, {"store": store, "path": path, "digest": digest}, opts)


def _put(props: dict[str, Any]) -> None:
    from adapters.urls import open_store

    open_store(props["store"]).put(BLOB, Path(props["path"]).read_bytes(), timeout_s=600.0)
