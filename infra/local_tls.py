"""The certificate that a local stack speaks HTTPS with, as a dynamic resource: made, renewed, mended, removed."""

import datetime
import ipaddress
import socket
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult


class _Certificate(ResourceProvider):
    """A pair that signs itself. A pair that the operator puts in its place stays, as long as it can be used."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        if _wrong_with(props):
            _make(props)
        return CreateResult(id_=str(props["home"]), outs=_seen(props))

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        replaces = ["home"] if olds.get("home") != news.get("home") else []
        changed = olds.get("names") != news.get("names") or bool(olds.get("wrong"))
        return DiffResult(changes=bool(replaces) or changed, replaces=replaces, delete_before_replace=True)

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _make(news)
        return UpdateResult(outs=_seen(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_=id_, outs=_seen(props))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        for file in _files(props):
            file.unlink(missing_ok=True)


class Certificate(Resource, module="tidegate", name="LocalCertificate"):
    """A home's certificate and key. `fingerprint`: of the certificate. `wrong`: why it is to be made anew."""

    fingerprint: pulumi.Output[str]
    wrong: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(_Certificate(), name, {**props, "fingerprint": None, "wrong": None}, opts)


def names_of(host: str) -> list[str]:
    """Return what a certificate is for where a stack listens at `host`: this machine's names where that is any."""
    try:
        anywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        anywhere = False
    return sorted({"localhost", "127.0.0.1", "::1", socket.gethostname() if anywhere else host})


def _files(props: dict[str, Any]) -> tuple[Path, Path]:
    from functions.runtimes.local.tls import CERTIFICATE, KEY

    return Path(props["home"]) / CERTIFICATE, Path(props["home"]) / KEY


def _make(props: dict[str, Any]) -> None:
    from functions.runtimes.local.files import write_whole
    from functions.runtimes.local.tls import self_signed

    for file, body in zip(_files(props), self_signed(props["names"], _now()), strict=True):
        write_whole(file, body, mode=0o600)


def _wrong_with(props: dict[str, Any]) -> str:
    from functions.runtimes.local.tls import wrong_with

    return wrong_with(*_files(props), _now())


def _seen(props: dict[str, Any]) -> dict[str, Any]:
    from functions.runtimes.local.tls import fingerprint_of

    wrong = _wrong_with(props)
    return {**props, "wrong": wrong, "fingerprint": "" if wrong else fingerprint_of(_files(props)[0])}


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
