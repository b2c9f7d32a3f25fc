"""A function on each cloud's store and queue: killed before the acknowledgement, with repeated and reordered messages,
under a clock that is an hour off. fsck finds nothing each time.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from adapters.clock import SystemClock
from adapters.urls import QueueEnds, open_queues, open_store
from functions.runtimes.host import Host
from shared.documents import encode
from shared.events import UploadReceived, first_event
from shared.monitoring.fsck import fsck
from shared.settings import Settings
from tests.kinds import on_emulators
from tests.runtimes.cloud_stacks import STACKS
from tests.runtimes.clouds import environ, receipts, sign_off
from tests.simulation.material import DAMAGED, MONTHS, TRUST_ROOTS, USECASE

LEASE_S = 10.0
SHORT_S = 2.0
"""The lease of the killed function's message. The test waits for its end; no other worker receives the message."""
WAIT_S = 60.0
KILLED = """
import os, signal
from adapters.urls import open_queues
from functions.runtimes.host import Host
host = Host(os.environ)
queue = open_queues(host.platform.settings.queues, ["validate"])["validate"]
(message,) = queue.receive(1, {lease_s}, wait_s={wait_s})
host.receive("validate", message.body)
os.kill(os.getpid(), signal.SIGKILL)
queue.ack(message.receipt_handle)
"""
FILES = {"first.csv": MONTHS["2013-01"], "second.csv": MONTHS["2013-02"], "damaged.csv": DAMAGED}


@pytest.fixture(params=on_emulators(STACKS))
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    with STACKS[request.param](request.getfixturevalue, tmp_path) as settings:
        sign_off(settings)
        yield settings


def test_a_function_killed_before_the_acknowledgement_ends_in_the_same_state(stack: Settings) -> None:
    queue = validate_queue(stack)
    queue.send(uploaded(stack, "first.csv"))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED.format(lease_s=SHORT_S, wait_s=WAIT_S)],
        env={**os.environ, **environ("validate", stack)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    before = everything(stack)
    assert len(receipts(open_store(stack.stores.system))) == 1
    (again,) = queue.receive(1, LEASE_S, wait_s=WAIT_S)
    assert again.receive_count == 2
    Host(environ("validate", stack)).receive("validate", again.body)
    assert queue.ack(again.receipt_handle)
    assert everything(stack) == before
    check(stack)


def test_repeated_and_reordered_messages_end_in_the_same_state(stack: Settings) -> None:
    queue = validate_queue(stack)
    first, second, damaged = (uploaded(stack, name) for name in FILES)
    host = Host(environ("validate", stack))
    for body in (damaged, second, damaged, first, second, first, damaged):
        queue.send(body)
        (message,) = queue.receive(1, LEASE_S, wait_s=WAIT_S)
        host.receive("validate", message.body)
        assert queue.ack(message.receipt_handle)
    system = open_store(stack.stores.system)
    assert len(receipts(system)) == len(FILES)
    assert len(list(system.list(f"quarantine/{USECASE}/"))) == 1
    check(stack)


@pytest.mark.parametrize("off_s", [3600.0, -3600.0])
def test_a_function_whose_clock_is_an_hour_off_decides_the_same(stack: Settings, off_s: float) -> None:
    """The clock that the function sees; one that requests are signed by is refused (tests/adapters)."""
    queue = validate_queue(stack)
    queue.send(uploaded(stack, "second.csv"))
    with patch.object(SystemClock, "now", lambda self: time.time() + off_s):
        host = Host(environ("validate", stack))
        (message,) = queue.receive(1, LEASE_S, wait_s=WAIT_S)
        host.receive("validate", message.body)
        assert queue.ack(message.receipt_handle)
    right = everything(stack)
    Host(environ("validate", stack)).receive("validate", message.body)
    assert everything(stack) == right
    check(stack)


def uploaded(stack: Settings, name: str) -> bytes:
    """Put a file into the landing store, and return the message about it."""
    landing, key = open_store(stack.stores.landing), f"uploads/{USECASE}/u-{name.removesuffix('.csv')}/{name}"
    landing.put_new(key, FILES[name])
    info = landing.head(key)
    assert info is not None
    upload = UploadReceived(key=key, etag=info.etag)
    return encode(first_event(upload, usecase=USECASE, source="/test", origin=name, at=info.modified))


def validate_queue(stack: Settings) -> QueueEnds:
    return open_queues(stack.queues, ["validate"])["validate"]


def everything(stack: Settings) -> dict[str, bytes]:
    """Return all objects of the system store, by key."""
    system = open_store(stack.stores.system)
    return {info.key: system.get(info.key).body for info in system.list()}


def check(stack: Settings) -> None:
    stores = (open_store(url) for url in (stack.stores.landing, stack.stores.system, stack.stores.capture))
    assert fsck(*stores, TRUST_ROOTS).findings == ()
