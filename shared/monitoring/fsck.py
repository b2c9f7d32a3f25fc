"""fsck: check what must always hold of the three stores, and return a finding for each thing that does not.

It only reads, and trusts nothing: it lists ledgers instead of following their hints, computes digests again, and
verifies signatures. A person's stack, the simulation and the kill tests are checked by the same code. The stores must
be idle: while messages are in flight, an upload may not have its receipt yet.
"""

from collections.abc import Callable, Mapping

import msgspec

from shared.layout import StoreName
from shared.monitoring import fsck_references, fsck_rules
from shared.monitoring.checks import REGISTRY, Check, Finding
from shared.monitoring.stored import Stored
from shared.ports import ObjectStore

INVARIANTS: dict[int, str] = {
    1: "every acknowledged upload has exactly one receipt",
    2: "a training key has at most one model number",
    3: "ledgers are dense and linear",
    4: "every reference resolves and its digest verifies",
    5: "rollback works from every reachable state",
    6: "every prediction is attributable to one model, and is in the log once",
    8: "nothing unsigned is loaded, and nothing of one use case is stored under another",
}
"""The numbers are those of docs/invariants.md; 7 (no swap causes a 5xx) is about requests, not about state."""

MODULES = (fsck_rules, fsck_references)
"""The modules of checks. Importing one registers its checks."""
CHECKS: Mapping[str, Check] = REGISTRY
"""Every check by name."""


class Report(msgspec.Struct, frozen=True):
    """How much was read, and what was found."""

    objects: int
    documents: int
    blobs: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """Whether there is no finding."""
        return not self.findings


def fsck(
    landing: ObjectStore,
    system: ObjectStore,
    capture: ObjectStore,
    trust_roots: Mapping[str, bytes],
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Read everything, run every check, and return the findings.

    Args: trust_roots: key id to raw public key, from the configuration and not from the stores. progress: called with
        a line about each step.
    Raises: what a store raises while it cannot be read; then there is no report.
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
