"""Everything that the three stores hold, read once and by listing: what fsck judges."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from shared import layout
from shared.data.records import Contract, DatasetVersion, Receipt, Verdict
from shared.documents import Document, decode, digest_of, hex_of
from shared.errors import TidegateError
from shared.events import Event
from shared.layout import Family, StoreName, blob_key
from shared.monitoring.records import Alert, WindowReport
from shared.pipeline.records import Claim, PipelineVersion, TrainingDecision, TrainingResult, Trial
from shared.ports import ObjectStore
from shared.registry.acts import Act
from shared.registry.edges import Edge
from shared.registry.ledger import Hint, Intent
from shared.registry.refusals import Refusal
from shared.serving.records import LabelBatch, ModelVersion, Stage
from shared.usecase.charter import CharterVersion

KINDS: dict[str, type[Document]] = {
    "charters": CharterVersion,
    "contracts": Contract,
    "pipelines": PipelineVersion,
    "datasets": DatasetVersion,
    "trainings": TrainingDecision,
    "models": ModelVersion,
    "stages": Stage,
    "receipts": Receipt,
    "verdicts": Verdict,
    "claims": Claim,
    "trials": Trial,
    "results": TrainingResult,
    "refusals": Refusal,
    "windows": WindowReport,
    "alerts": Alert,
    "events": Event,
    "edges": Edge,
    "acts": Act,
    "hints": Hint,
    "intents": Intent,
    "labels": LabelBatch,
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that does not hold: which invariant, where, and what is wrong."""

    invariant: int
    key: str
    message: str


class Stored:
    """All documents by family, and the digests of all blobs that verify."""

    def __init__(self, stores: Mapping[StoreName, ObjectStore], trust_roots: Mapping[str, bytes]) -> None:
        self.stores = stores
        self.trust_roots = trust_roots
        self.findings: list[Finding] = []
        self.documents: dict[str, dict[str, Any]] = defaultdict(dict)
        self.names: dict[str, dict[str, str]] = {}
        self.etags: dict[str, str] = {}
        self.blobs: set[str] = set()
        self.objects = 0

    @property
    def document_count(self) -> int:
        """How many documents could be read."""
        return sum(len(documents) for documents in self.documents.values())

    def read(self, name: StoreName) -> None:
        """Read all of one store; what cannot be understood becomes a finding."""
        for info in self.stores[name].list():
            self.objects += 1
            family = layout.family_of(name, info.key)
            if family is None:
                self.findings.append(Finding(4, info.key, f"no family of {name} has such a key"))
                continue
            self.names[info.key] = family.parse(info.key) or {}
            self.etags[info.key] = info.etag
            if family.kind == "blob":
                self._read_blob(info.key)
            elif family.name in KINDS:
                self._read_document(family, info.key, self.stores[name])
            else:
                self.documents[family.name][info.key] = None

    def _read_blob(self, key: str) -> None:
        digest = digest_of(self.stores["system"].get(key).body)
        if blob_key(hex_of(digest)) == key:
            self.blobs.add(digest)
        else:
            self.findings.append(Finding(4, key, "the blob's bytes do not match the digest in its key"))

    def _read_document(self, family: Family, key: str, store: ObjectStore) -> None:
        try:
            document = decode(store.get(key).body, KINDS[family.name])
        except TidegateError as error:
            self.findings.append(Finding(4, key, error.message))
            return
        self.documents[family.name][key] = document
        usecase = getattr(document, "usecase", None)
        under = self.names[key].get("usecase")
        if usecase is not None and under is not None and usecase != under:
            self.findings.append(Finding(8, key, f"a document of use case {usecase!r} stands under {under!r}"))

    def ledger(self, family: Family, usecase: str) -> dict[int, Any]:
        """Return the entries of one ledger by number."""
        return {
            int(self.names[key]["number"]): document
            for key, document in self.documents[family.name].items()
            if self.names[key]["usecase"] == usecase
        }

    def of(self, family: Family) -> Iterator[tuple[str, str, Any]]:
        """Yield (key, use case, document) of a family."""
        for key, document in self.documents[family.name].items():
            yield key, self.names[key].get("usecase", ""), document
