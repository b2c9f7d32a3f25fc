"""The HTTPS certificate of a local stack, as a dynamic resource: created, renewed, repaired and removed.

`up` overwrites and removes only a pair that it created. A pair that the operator put in its place is checked, reported
before it expires, and never overwritten.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult


class CertificateProvider(ResourceProvider):
    """Provides a self-signed pair, or uses the operator's."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Create a pair, or use the existing one."""
        return CreateResult(id_=str(props["home"]), outs=_settled(props))

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Report a change if the pair lacks a name, or cannot be used."""
        replaces = ["home"] if olds.get("home") != news.get("home") else []
        others = bool(olds.get("made_here")) and not set(news["names"]) <= set(olds.get("held") or [])
        changes = bool(replaces) or others or bool(olds.get("wrong"))
        return DiffResult(changes=changes, replaces=replaces, delete_before_replace=True)

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Create the pair again where needed."""
        return UpdateResult(outs=_settled(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Read the existing pair."""
        return ReadResult(id_=id_, outs=_seen(props))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Remove the pair if `up` created it."""
        from functions.runtimes.local.tls import pair_at

        pair = pair_at(*_files(props))
        if pair is not None and pair.made_here:
            for file in _files(props):
                file.unlink()


class Certificate(Resource, module="tidegate", name="LocalCertificate"):
    """A home's certificate and key.

    names: hosts and addresses that a pair created by `up` must be valid for. held: those of the existing certificate.
    fingerprint: of the certificate. made_here: `up` created it. wrong: why it must be created again. warning: what the
    operator has to do.
    """

    fingerprint: pulumi.Output[str]
    warning: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        seen = dict.fromkeys(("fingerprint", "held", "made_here", "wrong", "warning"))
        super().__init__(CertificateProvider(), name, {**props, **seen}, opts)


def names_of(host: str, more: Sequence[str] = ()) -> list[str]:
    """Return the names of a certificate for a stack that listens at `host`: it, this machine's names, and `more`."""
    named = {"localhost", "127.0.0.1", "::1"}
    for name in (host, *more):
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            named.add(name)
        else:
            named |= set() if address.is_unspecified else {str(address)}  # as certificates have it
    return sorted(named)


def _files(props: dict[str, Any]) -> tuple[Path, Path]:
    from functions.runtimes.local.tls import CERTIFICATE, KEY

    return Path(props["home"]) / CERTIFICATE, Path(props["home"]) / KEY


def _settled(props: dict[str, Any]) -> dict[str, Any]:
    """Create a pair unless there is a usable one; return its properties.

    Raises: RuntimeError: there is a certificate that `up` did not create, without a matching key.
    """
    from functions.runtimes.local.files import write_whole
    from functions.runtimes.local.tls import is_made_here, pair_at, self_signed

    certificate, key = _files(props)
    pair = pair_at(certificate, key)
    if pair is not None:
        good = not pair.made_here or (set(props["names"]) <= set(pair.names) and not pair.ends_soon(_now()))
        if good:
            return _seen(props)
    elif certificate.exists() and not is_made_here(certificate):
        raise RuntimeError(
            f"{certificate} was not created by `tidegate up`, and {key.name} beside it does not match: "
            "correct the pair, or move both files away to get a new one"
        )
    elif key.exists():  # its owner is unknown
        key.rename(key.with_name(f"{key.name}.{_now():%Y%m%dT%H%M%S.%f}"))
    for file, body in zip((certificate, key), self_signed(props["names"], _now()), strict=True):
        write_whole(file, body, mode=0o600)
    return _seen(props)


def _seen(props: dict[str, Any]) -> dict[str, Any]:
    from functions.runtimes.local.tls import RENEW_DAYS, pair_at

    pair = pair_at(*_files(props))
    if pair is None:
        return {
            **props,
            "wrong": "missing, or no pair",
            "warning": "",
            "fingerprint": "",
            "held": [],
            "made_here": False,
        }
    wrong = warning = ""
    if pair.ends_soon(_now()) and pair.made_here:
        wrong = f"not valid for another {RENEW_DAYS} days"
    elif pair.ends_soon(_now()):
        warning = (
            f"the certificate in {_files(props)[0]} is yours, and ends on {pair.ends:%Y-%m-%d}: replace it before then"
        )
    seen = {"fingerprint": pair.fingerprint, "held": pair.names, "made_here": pair.made_here}
    return {**props, **seen, "wrong": wrong, "warning": warning}


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
