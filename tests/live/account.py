"""What a live run is told by its environment, and what every cloud's part of it can do (docs/live.md)."""

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from shared.ports import Message
from tests.conformance.rigs import QueueRig, SecretsRig, StoreRig
from tests.waiting import let_time_pass

LIVE = "TIDEGATE_LIVE"
BEGINS = "tidegate-live-"
"""Nothing whose name begins otherwise is ever made, changed or removed."""
PORTS = ("store", "queue", "secrets")
_NAME = re.compile("[a-z][a-z0-9]{0,11}")


@dataclass(frozen=True)
class Asked:
    """`prefix`: of everything that this person's runs make; `run`: of this run's; `lease_s`: how long queues lend."""

    provider: str
    prefix: str
    run: str
    lease_s: float
    ports: tuple[str, ...]
    environ: Mapping[str, str]


class Cloud(Protocol):
    """One real account: rigs on things that are made for them and removed after them, and what stands there."""

    def store(self) -> AbstractContextManager[StoreRig]: ...

    def queue(self) -> AbstractContextManager[QueueRig]: ...

    def secrets(self) -> AbstractContextManager[SecretsRig]: ...

    def existing(self, beginning: str) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield what there is whose name begins so: what it is, and what removes it."""
        ...


def asked(environ: Mapping[str, str], needs: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Asked:
    """Return what the environment asks for.

    Args: needs: provider -> port ("" for all) -> variable -> what it says. Raises: pytest.UsageError: names every
        variable that is missing, or the one that is wrong.
    """
    provider = environ.get(LIVE, "")
    if provider not in needs:
        raise pytest.UsageError(f"{LIVE} is {provider[:20]!r}: set it to one of {', '.join(needs)}")
    chosen = tuple(environ.get("TIDEGATE_LIVE_PORTS", ",".join(PORTS)).split(","))
    if unknown := [port for port in chosen if port not in PORTS]:
        raise pytest.UsageError(f"TIDEGATE_LIVE_PORTS names {unknown[0][:20]!r}: choose of {','.join(PORTS)}")
    wanted = {
        "TIDEGATE_LIVE_NAME": "whose run it is: up to 12 lower-case letters and digits, in the name of all it makes"
    }
    for port in ("", *chosen):
        wanted |= needs[provider].get(port, {})
    missing = [f"{name} ({what})" for name, what in wanted.items() if not environ.get(name)]
    if missing:
        raise pytest.UsageError(f"a live run on {provider} needs: {'; '.join(missing)}. See docs/live.md")
    name = environ["TIDEGATE_LIVE_NAME"]
    if not _NAME.fullmatch(name):
        raise pytest.UsageError("TIDEGATE_LIVE_NAME: use 1 to 12 lower-case letters and digits, a letter first")
    lease = environ.get("TIDEGATE_LIVE_LEASE_S", "10")
    if not lease.isdecimal() or not 6 <= int(lease) <= 60:
        raise pytest.UsageError("TIDEGATE_LIVE_LEASE_S: use whole seconds, 6 to 60")
    prefix = f"{BEGINS}{name}-"
    return Asked(provider, prefix, f"{prefix}{secrets.token_hex(3)}", float(lease), chosen, environ)


def remove(cloud: Cloud, beginning: str) -> tuple[list[str], list[str]]:
    """Remove everything whose name begins so; return what was removed, and what could not be, with the reason."""
    assert beginning.startswith(BEGINS)
    removed, left = [], []
    for what, act in cloud.existing(beginning):
        try:
            act()
            removed.append(what)
        except Exception as error:  # go on: the rest is to be removed as well
            left.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
    return removed, left


class Leases:
    """When the last lease of a queue ends, on this machine's clock."""

    def __init__(self) -> None:
        self._until = 0.0

    def lent(self, seconds: float) -> None:
        self._until = max(self._until, time.monotonic() + seconds)

    def sit_out(self) -> None:
        """Return when all of them have ended."""
        let_time_pass(max(0.0, self._until - time.monotonic()))


class Patient:
    """A queue whose `receive` gathers: a service of many servers may give fewer messages than there are, or none.

    It asks until it has as many as were asked for or, for `poll_s`, nothing comes.
    """

    def __init__(self, queue: Any, leases: Leases, poll_s: float) -> None:
        self._queue = queue
        self._leases = leases
        self._poll_s = poll_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def receive(self, max_messages: int, visibility_s: float, *, wait_s: float = 0.0, **given: float) -> list[Message]:
        found: list[Message] = self._queue.receive(
            max_messages, visibility_s, wait_s=max(wait_s, self._poll_s), **given
        )
        more = found
        while more and len(found) < max_messages:
            more = self._queue.receive(max_messages - len(found), visibility_s, wait_s=self._poll_s, **given)
            found += more
        if found:
            self._leases.lent(visibility_s * 1.1)
        return found

    def change_visibility(self, receipt_handle: str, visibility_s: float, **given: float) -> str | None:
        self._leases.lent(visibility_s * 1.1)
        extended: str | None = self._queue.change_visibility(receipt_handle, visibility_s, **given)
        return extended
