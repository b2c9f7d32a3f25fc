"""The certificate that a local stack speaks HTTPS with, as a dynamic resource: made, renewed, mended, removed.

What `up` made, it may write over and remove. A pair that the operator puts in its place is the operator's: it is looked
at, warned of before it ends, and never written over.
"""

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult


class CertificateProvider(ResourceProvider):
    """A pair that signs itself, or the operator's own."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make a pair, or take what stands there."""
        return CreateResult(id_=str(props["home"]), outs=_settled(props))

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Say whether what `up` made is for too few names, or no pair can be used."""
        replaces = ["home"] if olds.get("home") != news.get("home") else []
        others = bool(olds.get("made_here")) and not set(news["names"]) <= set(olds.get("held") or [])
        changes = bool(replaces) or others or bool(olds.get("wrong"))
        return DiffResult(changes=changes, replaces=replaces, delete_before_replace=True)

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Make it anew where it has to be."""
        return UpdateResult(outs=_settled(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Look at what stands there."""
        return ReadResult(id_=id_, outs=_seen(props))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Remove what `up` made."""
        from functions.runtimes.local.tls import pair_at

        pair = pair_at(*_files(props))
        if pair is not None and pair.made_here:
            for file in _files(props):
                file.unlink()


class Certificate(Resource, module="tidegate", name="LocalCertificate"):
    """A home's certificate and key.

    names: hosts and addresses that it has to be for, where `up` makes it. held: those that it is for. fingerprint: of
    the certificate. made_here: `up` made it. wrong: why it is to be made anew. warning: what the operator has to do.
    """

    fingerprint: pulumi.Output[str]
    warning: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        seen = dict.fromkeys(("fingerprint", "held", "made_here", "wrong", "warning"))
        super().__init__(CertificateProvider(), name, {**props, **seen}, opts)


def names_of(host: str, more: Sequence[str] = ()) -> list[str]:
    """Return what a certificate is for where a stack listens at `host`: that, this machine's own names, and `more`."""
    named = {"localhost", "127.0.0.1", "::1"}
    for name in (host, *more):
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            named.add(name)
        else:
            named |= set() if address.is_unspecified else {str(address)}  # as it is written in certificates
    return sorted(named)


def _files(props: dict[str, Any]) -> tuple[Path, Path]:
    from functions.runtimes.local.tls import CERTIFICATE, KEY

    return Path(props["home"]) / CERTIFICATE, Path(props["home"]) / KEY


def _settled(props: dict[str, Any]) -> dict[str, Any]:
    """Let there be a pair that can be used, and return what there is.

    Raises: RuntimeError: a certificate stands there that `up` did not make, and it has no key that fits.
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
            f"{certificate} is no certificate that `tidegate up` made, and {key.name} beside it is no key that fits: "
            "mend the pair, or move both away, so that a new one can be made"
        )
    elif key.exists():  # whose it is nobody can say
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
        warning = f"the certificate in {_files(props)[0]} is yours, and ends on {pair.ends:%Y-%m-%d}: put another there"
    seen = {"fingerprint": pair.fingerprint, "held": pair.names, "made_here": pair.made_here}
    return {**props, **seen, "wrong": wrong, "warning": warning}


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
