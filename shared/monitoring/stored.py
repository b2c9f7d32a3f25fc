"""Everything that the three stores hold, read once and by listing: the input of fsck's checks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from shared import layout
from shared.data.records import Contract, DatasetVersion, Receipt, ValidationReport
from shared.documents import Document, decode, digest_of, hex_of
from shared.errors import IntegrityError, Unsupported
from shared.events import Event
from shared.layout import Family, StoreName, blob_key
from shared.monitoring.records import Alert, WindowReport
from shared.pipeline.records import Claim, PipelineVersion, TrainingDecision, TrainingResult, Trial
from shared.ports import ObjectStore
from shared.registry.edges import Edge
from shared.registry.effects import EffectLease
from shared.registry.ledger import Hint, Intent
from shared.registry.refusals import Refusal
from shared.serving.records import LabelBatch, ModelVersion, Prediction, ReleaseDecision
from shared.usecase.charter import CharterVersion

KINDS: dict[str, type[Document]] = {
    "charters": CharterVersion,
    "contracts": Contract,
    "pipelines": PipelineVersion,
    "datasets": DatasetVersion,
    "trainings": TrainingDecision,
    "models": ModelVersion,
    "releases": ReleaseDecision,
    "receipts": Receipt,
    "validations": ValidationReport,
    "claims": Claim,
    "trials": Trial,
    "results": TrainingResult,
    "refusals": Refusal,
    "windows": WindowReport,
    "alerts": Alert,
    "events": Event,
    "edges": Edge,
    "effects": EffectLease,
    "hints": Hint,
    "intents": Intent,
    "labels": LabelBatch,
}


class Stored:
    """All documents by family, the digests of all blobs, and what could not be read.

    Only `read` changes it: fsck reads each store once, and the checks then only look.
    """

    def __init__(self, stores: Mapping[StoreName, ObjectStore], trust_roots: Mapping[str, bytes]) -> None:
        self.stores = stores
        self.trust_roots = trust_roots
        self.documents: dict[str, dict[str, Any]] = defaultdict(dict)
        """Family -> key -> document; None for files, of which only the key is needed."""
        self.names: dict[str, dict[str, str]] = {}
        """Key -> the names in it ("usecase", "number", ...)."""
        self.etags: dict[str, str] = {}
        """Key -> etag."""
        self.blobs: set[str] = set()
        """Digests of the blobs whose bytes match."""
        self.quarantined: dict[str, str] = {}
        """Key -> digest of the file in quarantine."""
        self.predictions: dict[str, list[Prediction]] = {}
        """Key of a capture file -> its predictions."""
        self.objects = 0
        self.unknown_keys: list[tuple[StoreName, str]] = []
        """Keys that belong to no family."""
        self.damaged_blobs: list[str] = []
        """Keys of blobs whose bytes do not match."""
        self.unreadable_documents: dict[str, str] = {}
        """Key of a document that cannot be read -> why."""
        self.unreadable_captures: dict[str, str] = {}
        """Key of a capture file that cannot be read -> why."""
        self._ledgers: dict[tuple[str, str], dict[int, Any]] = defaultdict(dict)

    @property
    def document_count(self) -> int:
        """The number of documents that could be read."""
        return sum(len(documents) for documents in self.documents.values())

    def read(self, name: StoreName) -> None:
        """Read all of one store. Raises: what the store raises while it cannot be read."""
        for info in self.stores[name].list():
            self.objects += 1
            family = layout.family_of(name, info.key)
            if family is None:
                self.unknown_keys.append((name, info.key))
                continue
            self.names[info.key] = family.parse(info.key) or {}
            self.etags[info.key] = info.etag
            if family.kind == "blob":
                self._read_blob(info.key)
            elif family.name in KINDS:
                self._read_document(family, info.key, self.stores[name])
            else:
                self.documents[family.name][info.key] = None
                if family == layout.QUARANTINE:
                    self.quarantined[info.key] = digest_of(self.stores[name].get(info.key).body)
                elif family == layout.PREDICTIONS:
                    self._read_predictions(info.key)

    def ledger(self, family: Family, usecase: str) -> dict[int, Any]:
        """Return the entries of one ledger by number."""
        return self._ledgers[family.name, usecase]

    def of(self, family: Family) -> Iterator[tuple[str, str, Any]]:
        """Yield (key, use case, document) of a family."""
        for key, document in self.documents[family.name].items():
            yield key, self.names[key].get("usecase", ""), document

    def blob(self, digest: str) -> bytes:
        """Return a blob's bytes. Raises: IntegrityError: it is missing or damaged."""
        if digest not in self.blobs:
            raise IntegrityError(f"blob {digest[:19]}... is missing or damaged")
        return self.stores["system"].get(blob_key(hex_of(digest))).body

    def _read_blob(self, key: str) -> None:
        digest = digest_of(self.stores["system"].get(key).body)
        if blob_key(hex_of(digest)) == key:
            self.blobs.add(digest)
        else:
            self.damaged_blobs.append(key)

    def _read_document(self, family: Family, key: str, store: ObjectStore) -> None:
        body = store.get(key).body
        try:
            document = decode(body, KINDS[family.name])
        except (IntegrityError, Unsupported) as error:
            self.unreadable_documents[key] = error.message
            return
        self.documents[family.name][key] = document
        if family.kind == "ledger":
            names = self.names[key]
            self._ledgers[family.name, names["usecase"]][int(names["number"])] = document

    def _read_predictions(self, key: str) -> None:
        from shared.serving.capture_files import read_arrow  # imported here because it loads Arrow

        body = self.stores["capture"].get(key).body
        try:
            self.predictions[key] = read_arrow(body)
        except (IntegrityError, Unsupported) as error:
            self.unreadable_captures[key] = error.message
