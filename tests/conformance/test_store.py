"""Every object store against every clause, and every broken one against the clause that it breaks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance import aws_rigs, azure_rigs, gcp_rigs, rigs
from tests.conformance.broken import REJECTIONS, Proxy
from tests.conformance.broken_store import STORE_BREAKS
from tests.conformance.store_clauses import READING
from tests.conformance.store_list_clauses import LISTING
from tests.conformance.store_write_clauses import WRITING
from tests.kinds import on_emulators

RIGS = {"memory": contextmanager(rigs.memory_store), "local": contextmanager(rigs.local_store_rig)}
CLOUDS = {
    "aws": contextmanager(aws_rigs.s3_store),
    "azure": contextmanager(azure_rigs.blob_store),
    "gcp": contextmanager(gcp_rigs.gcs_store),
}
"""Rigs that take their fixtures by name, so that an emulator starts with the first test that needs it."""
CLAUSES = {**READING.clauses, **WRITING.clauses, **LISTING.clauses}
BROKEN = [(clause, kind) for clause, kinds in STORE_BREAKS.items() for kind in kinds]


@pytest.fixture(params=[*RIGS, *on_emulators(CLOUDS)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[rigs.StoreRig]:
    name = request.param
    with CLOUDS[name](request.getfixturevalue) if name in CLOUDS else RIGS[name](tmp_path) as made:
        yield made


@pytest.mark.parametrize("clause", CLAUSES)
def test_store(rig: rigs.StoreRig, clause: str) -> None:
    CLAUSES[clause].check(rig)


@pytest.mark.parametrize(("clause", "kind"), BROKEN, ids=[kind.__name__ for _, kind in BROKEN])
def test_a_broken_store_is_rejected(tmp_path: Path, clause: str, kind: type[Proxy]) -> None:
    with RIGS["memory"](tmp_path) as sound:
        broken = kind(sound.store)
        rig = replace(sound, store=broken, another=lambda: broken)
        with pytest.raises(REJECTIONS):
            CLAUSES[clause].check(rig)
