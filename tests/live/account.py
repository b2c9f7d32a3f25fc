"""The settings of a live run, and the interface of each cloud's account (docs/live.md)."""

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
"""The prefix of all resources. A live run never creates, changes or removes a resource with another name."""
PORTS = ("store", "queue", "secrets")
_NAME = re.compile("[a-z][a-z0-9]{0,11}")


@dataclass(frozen=True)
class LiveRun:
    """The settings of a live run.

    `owner_prefix` begins the names of all resources of this person's runs, `run_prefix` those of this run. `lease_s` is
    the lease of its queues.
    """

    provider: str
    owner_prefix: str
    run_prefix: str
    lease_s: float
    ports: tuple[str, ...]
    environ: Mapping[str, str]


class Cloud(Protocol):
    """One real account: rigs whose resources are created before and removed after use, and the existing resources."""

    def store(self) -> AbstractContextManager[StoreRig]: ...

    def queue(self) -> AbstractContextManager[QueueRig]: ...

    def secrets(self) -> AbstractContextManager[SecretsRig]: ...

    def existing(self, beginning: str) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield the resources whose names begin with `beginning`: a description, and a function that removes it."""
        ...


def settings_of(environ: Mapping[str, str], needs: Mapping[str, Mapping[str, Mapping[str, str]]]) -> LiveRun:
    """Return the settings of the environment.

    Args: needs: provider -> port ("" for all) -> variable -> its description.
    Raises: pytest.UsageError: names every missing variable, or the invalid one.
    """
    provider = environ.get(LIVE, "")
    if provider not in needs:
        raise pytest.UsageError(f"{LIVE} is {provider[:20]!r}: set it to one of {', '.join(needs)}")
    ports = tuple(environ.get("TIDEGATE_LIVE_PORTS", ",".join(PORTS)).split(","))
    if unknown := [port for port in ports if port not in PORTS]:
        raise pytest.UsageError(f"TIDEGATE_LIVE_PORTS names {unknown[0][:20]!r}: choose of {','.join(PORTS)}")
    wanted = {
        "TIDEGATE_LIVE_NAME": "the run's owner: up to 12 lower-case letters and digits, part of all resource names"
    }
    for port in ("", *ports):
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
    return LiveRun(provider, prefix, f"{prefix}{secrets.token_hex(3)}", float(lease), ports, environ)


def remove(cloud: Cloud, beginning: str) -> tuple[list[str], list[str]]:
    """Remove all resources whose names begin with `beginning`. Return those removed, and the failures with reasons."""
    assert beginning.startswith(BEGINS)
    removed, left = [], []
    for what, remove_it in cloud.existing(beginning):
        try:
            remove_it()
            removed.append(what)
        except Exception as error:  # go on with the others
            left.append(f"{what}: {type(error).__name__}: {str(error)[:200]}")
    return removed, left


class Leases:
    """The time when the last lease of a queue ends, on this machine's clock."""

    def __init__(self) -> None:
        self._until = 0.0

    def received(self, seconds: float) -> None:
        self._until = max(self._until, time.monotonic() + seconds)

    def wait_for_end(self) -> None:
        """Wait until all leases have ended."""
        let_time_pass(max(0.0, self._until - time.monotonic()))


class GatheringQueue:
    """A queue whose `receive` repeats, since a distributed service can return fewer messages than there are.

    It receives until it has `max_messages`, or until nothing arrives for `poll_s`.
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
            self._leases.received(visibility_s * 1.1)
        return found

    def change_visibility(self, receipt_handle: str, visibility_s: float, **given: float) -> str | None:
        self._leases.received(visibility_s * 1.1)
        handle: str | None = self._queue.change_visibility(receipt_handle, visibility_s, **given)
        return handle
