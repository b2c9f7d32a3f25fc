"""Acme's own tests: Tidegate's conformance suites, on adapters that are opened by URL (docs/add-a-provider.md).

From a checkout of Tidegate: `pytest -c pyproject.toml PATH/check_acme.py`, with this distribution installed.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import tidegate_acme.queue
import tidegate_acme.store

from adapters.urls import open_queues, open_store
from shared.ports import Created
from tests.conformance import suites
from tests.conformance.broken import REJECTIONS
from tests.conformance.rigs import OffsetClock, QueueRig, StoreRig

PAGE = 10


@pytest.fixture
def store_rig(tmp_path: Path) -> Iterator[StoreRig]:
    path = tmp_path / "acme.db"
    fetches = []

    def counted(*given: object) -> object:
        fetches.append(given)
        return transaction(*given)

    def read(key: str) -> bytes | None:
        return next((row[0] for row in rows(path, "SELECT body FROM objects WHERE key = ?", key.encode())), None)

    transaction = tidegate_acme.store.transaction
    with (
        patch.object(tidegate_acme.store, "transaction", counted),
        patch.object(tidegate_acme.store, "PAGE", PAGE),
    ):
        yield StoreRig(
            provider="acme",
            store=open_store(f"acme://{path}"),
            another=lambda: open_store(f"acme://{path}"),
            read_raw=read,
            keys_raw=lambda: [row[0].decode() for row in rows(path, "SELECT key FROM objects ORDER BY key")],
            now=time.time,
            fetches=lambda: len(fetches),
            objects_for_many_pages=3 * PAGE,
            presigns=False,
            folder_can_be_object=True,
            max_segment_bytes=900,
        )


@pytest.fixture
def queue_rig(tmp_path: Path) -> Iterator[QueueRig]:
    path = tmp_path / "acme.db"
    clock = OffsetClock()
    timers: list[threading.Timer] = []

    def send_later(body: bytes) -> None:
        timers.append(threading.Timer(0.1, open_queues(f"acme://{path}", ["queue"])["queue"].send, (body,)))
        timers[-1].start()

    with patch.object(tidegate_acme.queue, "now", clock.now):
        yield QueueRig(
            provider="acme",
            queue=open_queues(f"acme://{path}", ["queue"])["queue"],
            another=lambda: open_queues(f"acme://{path}", ["queue"])["queue"],
            bodies_raw=lambda: [row[0] for row in rows(path, "SELECT body FROM messages WHERE NOT dead")],
            wait=clock.advance,
            now=clock.now,
            send_later=send_later,
        )
        for timer in timers:
            timer.join()


def rows(path: Path, query: str, *values: object) -> list[tuple[bytes, ...]]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query, values).fetchall()


@pytest.mark.parametrize("clause", suites.STORE)
def test_store(store_rig: StoreRig, clause: str) -> None:
    suites.STORE[clause].check(store_rig)


@pytest.mark.parametrize("clause", suites.QUEUE)
def test_queue(queue_rig: QueueRig, clause: str) -> None:
    suites.QUEUE[clause].check(queue_rig)


def test_the_suite_rejects_a_store_where_two_writers_win(store_rig: StoreRig) -> None:
    class Unconditional(tidegate_acme.store.AcmeStore):
        def put_new(self, key: str, body: bytes, **given: float) -> Created:
            return Created(self.put(key, body, **given))

    unconditional = Unconditional(store_rig.store._path)
    with pytest.raises(REJECTIONS):
        suites.STORE["one_racing_writer_wins"].check(
            replace(store_rig, store=unconditional, another=lambda: unconditional)
        )
