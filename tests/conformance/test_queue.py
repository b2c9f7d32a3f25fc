"""Every queue against every clause, and every broken one against the clause that it breaks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance import aws_rigs, azure_rigs, gcp_rigs, rigs
from tests.conformance.broken import REJECTIONS, Proxy
from tests.conformance.broken_queue import QUEUE_BREAKS
from tests.conformance.queue_clauses import SENDING
from tests.conformance.queue_receive_clauses import RECEIVING
from tests.kinds import on_emulators

RIGS = {"memory": contextmanager(rigs.memory_queue), "local": contextmanager(rigs.local_queue)}
CLOUDS = {
    "aws": contextmanager(aws_rigs.sqs_queue),
    "azure": contextmanager(azure_rigs.storage_queue),
    "gcp": contextmanager(gcp_rigs.pubsub_queue),
}
"""Rigs that take their fixtures by name, so that an emulator starts with the first test that needs it."""
CLAUSES = {**SENDING.clauses, **RECEIVING.clauses}
BROKEN = [(clause, kind) for clause, kinds in QUEUE_BREAKS.items() for kind in kinds]


@pytest.fixture(params=[*RIGS, *on_emulators(CLOUDS)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[rigs.QueueRig]:
    name = request.param
    with CLOUDS[name](request.getfixturevalue) if name in CLOUDS else RIGS[name](tmp_path) as made:
        yield made


@pytest.mark.parametrize("clause", CLAUSES)
def test_queue(rig: rigs.QueueRig, clause: str) -> None:
    CLAUSES[clause].check(rig)


@pytest.mark.parametrize(("clause", "kind"), BROKEN, ids=[kind.__name__ for _, kind in BROKEN])
def test_a_broken_queue_is_rejected(tmp_path: Path, clause: str, kind: type[Proxy]) -> None:
    with RIGS["memory"](tmp_path) as sound:
        broken = kind(sound.queue)
        with pytest.raises(REJECTIONS):
            CLAUSES[clause].check(replace(sound, queue=broken, another=lambda: broken))
