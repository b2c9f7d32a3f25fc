"""fsck: what must always hold of the three stores, as code. A finding for each thing that does not.

It only reads, and trusts nothing: ledgers are listed rather than followed, digests are computed again, signatures
verified. The same checker judges a person's stack, the simulation and the kill tests, once the world is at rest.
"""

from collections.abc import Callable, Mapping

import msgspec

from shared.layout import StoreName
from shared.monitoring import fsck_references, fsck_rules
from shared.monitoring.checks import Check, Finding
from shared.monitoring.stored import Stored
from shared.ports import ObjectStore

INVARIANTS: dict[int, str] = {
    1: "every acknowledged upload has exactly one receipt",
    2: "a training key has at most one model number",
    3: "ledgers are dense and linear",
    4: "every reference resolves and its digest verifies",
    5: "rollback works from every reachable state",
    6: "every prediction is attributable to one model, and is in the log once",
    8: "nothing unsigned is loaded, and nothing of one use case stands under another",
}
"""The numbers are those of docs/invariants.md; 7 (no swap causes a 5xx) is about requests, not about state."""

CHECKS: dict[str, Check] = {**fsck_rules.CHECKS, **fsck_references.CHECKS}
"""Every check by name; tests/simulation/test_fsck.py plants a breakage for each."""


class Report(msgspec.Struct, frozen=True):
    """What was read, and what was found wrong with it."""

    objects: int
    documents: int
    blobs: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether everything holds."""
        return not self.findings


def fsck(
    landing: ObjectStore,
    system: ObjectStore,
    capture: ObjectStore,
    trust_roots: Mapping[str, bytes],
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Read everything, and return what does not hold.

    Args: trust_roots: key id to raw public key, from configuration and not from the stores.
    Raises: only what reading raises while a store is out of reach: then nothing is known.
    """
    stores: dict[StoreName, ObjectStore] = {"landing": landing, "system": system, "capture": capture}
    state = Stored(stores, trust_roots)
    for name in stores:
        progress(f"reading {name}")
        state.read(name)
    findings: list[Finding] = []
    for invariant, holds in INVARIANTS.items():
        progress(f"checking that {holds}")
        for check in CHECKS.values():
            if check.invariant == invariant:
                findings.extend(check.findings(state))
    return Report(state.objects, state.document_count, len(state.blobs), tuple(findings))
