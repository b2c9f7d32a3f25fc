"""What a handler finds when it is called: a platform over the memory adapter, and makers of what is on record there.

Every maker writes what the real functions would have written, by the same registry, and returns it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from adapters.memory.clock import START
from shared import layout
from shared.data.profile import Profile
from shared.data.records import Contract, DataFile, DatasetVersion
from shared.documents import Document, digest_of, encode, hex_of
from shared.events import NO_USECASE, Event, Payload, ScheduleFired, first_event
from shared.layout import Family
from shared.monitoring.windows import bounds
from shared.pipeline.records import (
    DatasetRef,
    Evaluation,
    ModelInterface,
    SampleRows,
    TrainingDecision,
    TrainingResult,
    TrainingSpec,
)
from shared.platform import Outcome, Platform
from shared.ports import JobSpec
from shared.registry.blob import create_document, put_blob, put_document_blob
from shared.registry.ledger import Entry, Ledger
from shared.registry.signatures import key_id_of, sign
from shared.serving.capture import partition_of
from shared.serving.capture_files import to_arrow
from shared.serving.http import Call, Request
from shared.serving.records import ModelManifest, ModelVersion, Prediction, ReleaseDecision
from shared.usecase.charter import CharterVersion, Signature
from shared.usecase.effective import charters
from tests.functions.material import (
    CHARTER,
    COLUMNS,
    DIGEST,
    INTERFACE,
    KEY,
    ROWS,
    SAMPLE,
    USECASE,
    evaluation_of,
    file_of,
    profile_of,
)
from tests.runtimes.conftest import SIGNING, new_stack

D = TypeVar("D", bound=Document)


class CheckResult(NamedTuple):
    """What `platform.check_model` returns in these tests."""

    ok: bool
    reason: str = ""


class Given:
    """A platform with a fixed clock (START) and ids, and what is on record in its stores.

    `checks` collects the calls of `platform.check_model`, which answers `check`.
    """

    def __init__(self) -> None:
        stack = new_stack(train_code_digest="sha256:" + "1" * 64, train_libraries_digest="sha256:" + "2" * 64)
        self.world = stack.world
        self.check = CheckResult(True)
        self.checks: list[dict[str, Any]] = []
        self.platform: Platform = msgspec.structs.replace(stack.platform, check_model=self._check)

    def change(self, **settings: Any) -> None:
        """Change the platform's settings."""
        changed = msgspec.structs.replace(self.platform.settings, **settings)
        self.platform = msgspec.structs.replace(self.platform, settings=changed)

    def run_as(self, **fields: Any) -> Platform:
        """Return the platform with other fields (instance, in_job, ...)."""
        return msgspec.structs.replace(self.platform, **fields)

    # What calls a handler

    def event(self, data: Payload, origin: str = "test") -> Event:
        """Return the event that carries `data`; another `origin` is another occurrence, with another event id."""
        return first_event(data, usecase=USECASE, source="/test", origin=origin, at=START)

    def tick(self, function: str, number: int = 1) -> Event:
        """Return a schedule's event, the same for the same number."""
        data = ScheduleFired(function=function)
        return first_event(data, usecase=NO_USECASE, source="/schedule", origin=f"tick {number}", at=START)

    def call(
        self,
        operation: str,
        body: object = b"",
        *,
        names: Mapping[str, str] | None = None,
        key: str | None = None,
        subject: str = "tester",
        request: str = "request-1",
        received_at: float = START,
    ) -> Call:
        """Return a request that was let in; `body` is bytes, or what is sent as JSON; `key` its idempotency key."""
        return Call(
            request=Request(
                method="POST",
                path="/",
                headers={} if key is None else {"idempotency-key": key},
                body=body if isinstance(body, bytes) else json.dumps(body).encode(),
                received_at=received_at,
                id=request,
            ),
            operation=operation,
            names={"usecase": USECASE, **(names or {})},
            subject=subject,
        )

    # What is on record

    def charter(self, *, signed: bool = True, **sections: Any) -> CharterVersion:
        """Apply a charter: CHARTER with other sections."""
        charter = msgspec.structs.replace(CHARTER, **sections)
        version = CharterVersion(
            charter=charter,
            digest=digest_of(encode(charter)),
            signatures=(Signature("business", "Ada", START),) if signed else (),
        )
        charters(self.platform.system, USECASE).append(lambda _: version)
        return version

    def contract(self, charter: CharterVersion | None = None, **fields: Any) -> Entry[Contract]:
        """Append a contract, made for `charter`."""
        usual: dict[str, Any] = {
            "usecase": USECASE,
            "columns": COLUMNS,
            "time_column": "at",
            "target_column": "shut",
            "target_positive": "1",
            "max_bad_rate": 0.01,
            "max_rows": 10_000,
            "inferred_from": DIGEST,
            "charter_digest": charter.digest if charter else DIGEST,
        }
        return self._append(layout.CONTRACTS, Contract(**(usual | fields)))

    def dataset(self, month: str, body: bytes | None = None, **fields: Any) -> Entry[DatasetVersion]:
        """Append a dataset version of one month, with its file as a blob."""
        body = file_of(month) if body is None else body
        start, end = bounds(month)
        digest = put_blob(self.platform.system, body)
        size = len(body)
        usual: dict[str, Any] = {
            "usecase": USECASE,
            "files": (DataFile(name=f"{month}.csv", digest=digest, media_type="text/csv", size_bytes=size, rows=ROWS),),
            "rows": ROWS,
            "time_start": start,
            "time_end": end - 1.0,
            "profile_digest": DIGEST,
            "contract": 1,
            "validation_key": "none",
            "receipt": hex_of(digest),
        }
        return self._append(layout.DATASETS, DatasetVersion(**(usual | fields)))

    def data(self, *months: str, **charter: Any) -> CharterVersion:
        """Put a charter in effect, its contract, and a dataset of each month: all that a training needs."""
        version = self.charter(**charter)
        self.contract(version)
        for month in months or ("2013-01", "2013-02"):
            self.dataset(month)
        return version

    def spec(self, **fields: Any) -> TrainingSpec:
        """Return the spec of a training on all datasets, under the first charter and contract."""
        datasets = Ledger(self.platform.system, layout.DATASETS, USECASE, DatasetVersion)
        contract = Ledger(self.platform.system, layout.CONTRACTS, USECASE, Contract)
        usual: dict[str, Any] = {
            "usecase": USECASE,
            "datasets": tuple(
                DatasetRef(entry.number, digest_of(datasets.get_bytes(entry.number))) for entry in datasets.entries()
            ),
            "start": bounds("2013-01")[0],
            "test_start": bounds("2013-02")[0],
            "end": bounds("2013-02")[1],
            "charter_digest": charters(self.platform.system, USECASE).get(1).document.digest,
            "contract": 1,
            "contract_digest": digest_of(contract.get_bytes(1)),
            "pipeline": 1,
            "pipeline_digest": DIGEST,
            "seed": 7,
            "trials": 2,
            "code_digest": self.platform.settings.train_code_digest,
            "libraries_digest": self.platform.settings.train_libraries_digest,
        }
        return TrainingSpec(**(usual | fields))

    def grant(self, spec: TrainingSpec | None = None, **fields: Any) -> Entry[TrainingDecision]:
        """Append a training that was granted."""
        spec = spec or self.spec()
        usual: dict[str, Any] = {
            "usecase": USECASE,
            "cause": "dataset.1",
            "granted": True,
            "reason": "the first training",
            "key": hex_of(digest_of(encode(spec))),
            "spec": spec,
            "data_end": spec.end,
        }
        return self._append(layout.TRAININGS, TrainingDecision(**(usual | fields)))

    def refuse(self, cause: str = "dataset.1") -> Entry[TrainingDecision]:
        """Append a training that was refused."""
        refusal = TrainingDecision(usecase=USECASE, cause=cause, granted=False, reason="retraining.cooldown_days is 28")
        return self._append(layout.TRAININGS, refusal)

    def result(
        self,
        key: str = KEY,
        *,
        model: bytes = b"a model",
        evaluation: Evaluation | None = None,
        reference: Profile | None = None,
        **fields: Any,
    ) -> TrainingResult:
        """Propose a model: the result of a training that succeeded, with its blobs."""
        store = self.platform.system
        usual: dict[str, Any] = {
            "usecase": USECASE,
            "key": key,
            "state": "succeeded",
            "model_digest": put_blob(store, model),
            "algorithm": "logistic_regression",
            "threshold": 0.5,
            "evaluation_digest": put_document_blob(store, evaluation or evaluation_of()),
            "sample_digest": put_document_blob(store, SAMPLE),
            "reference_digest": put_document_blob(store, reference or profile_of(0.0)),
            "interface": INTERFACE,
        }
        result = TrainingResult(**(usual | fields))
        return create_document(store, layout.RESULTS.key(usecase=USECASE, key=key), result)

    def failure(self, key: str, reason: str = "too few rows") -> TrainingResult:
        """Record that a training failed."""
        result = TrainingResult(usecase=USECASE, key=key, state="failed", reason=reason)
        return create_document(self.platform.system, layout.RESULTS.key(usecase=USECASE, key=key), result)

    def model(self, key: str = KEY, *, signed_by: bytes = SIGNING, **fields: Any) -> Entry[ModelVersion]:
        """Register a model: its result, its signed manifest, and its number."""
        result = self.result(key, **fields)
        manifest = ModelManifest(
            usecase=USECASE,
            training_key=key,
            model_digest=result.model_digest or "",
            size_bytes=len(fields.get("model", b"a model")),
            algorithm="logistic_regression",
            interface=INTERFACE,
            threshold=result.threshold or 0.0,
            metrics=result.metrics,
            evaluation_digest=result.evaluation_digest or "",
            reference_digest=result.reference_digest or "",
            checked=(),
        )
        version = ModelVersion(
            usecase=USECASE,
            training_key=key,
            manifest_digest=put_document_blob(self.platform.system, manifest),
            signature=sign(encode(manifest), signed_by),
            signed_by=key_id_of(signed_by),
        )
        return self._append(layout.MODELS, version)

    def release(self, champion: int | None, **fields: Any) -> Entry[ReleaseDecision]:
        """Let a model serve; None is a refusal, after which none serves."""
        usual: dict[str, Any] = {
            "usecase": USECASE,
            "champion": champion,
            "action": "refuse" if champion is None else "release",
            "reason": "every gate passed",
            "by": "release",
            "cause": f"model.{champion}",
        }
        return self._append(layout.RELEASES, ReleaseDecision(**(usual | fields)))

    def capture(self, predictions: Sequence[Prediction]) -> str:
        """Keep predictions as `collect` does, and return the file's key."""
        body = to_arrow(predictions)
        date, hour = partition_of(predictions[0].id)
        key = layout.PREDICTIONS.key(usecase=USECASE, date=date, hour=hour, batch=hex_of(digest_of(body)))
        self.platform.capture.put_new(key, body)
        return key

    # What became of it

    def keys(self, *prefixes: str) -> list[str]:
        """Return the keys of the three stores that begin with one of the prefixes, or all but hints and intents."""
        stores = (self.platform.landing, self.platform.system, self.platform.capture)
        found = [info.key for store in stores for info in store.list()]
        if prefixes:
            return [key for key in found if key.startswith(prefixes)]
        return [key for key in found if not key.startswith(("hints/", "intents/"))]

    def entries(self, family: Family, kind: type[D]) -> list[D]:
        """Return the documents of one of the use case's ledgers."""
        return [entry.document for entry in Ledger(self.platform.system, family, USECASE, kind).entries()]

    def edges(self) -> list[str]:
        """Return the lineage upwards: "dataset.1 <- source upload.x"."""
        found = (layout.EDGES.parse(key) for key in self.keys("edges/"))
        pairs = [(names["node"], names["edge"].split(".", 2)) for names in found if names]
        return [f"{node} <- {kind} {other}" for node, (direction, kind, other) in pairs if direction == "up"]

    def submitted(self) -> list[JobSpec]:
        """Return the jobs that were submitted."""
        specs: list[JobSpec] = []
        for job in self.world.jobs.pending():
            self.world.jobs.run(job, lambda spec, _: specs.append(spec) or 0)
        return specs

    def traced(self, effect: Callable[[], object]) -> list[tuple[str, str]]:
        """Return the operations on the stores during `effect`, in order: (operation, key)."""
        faults = self.world.faults
        faults.begin(tracing=True)
        effect()
        return [(operation, resource) for _, operation, resource in faults.trace or ()]

    def _append(self, family: Family, document: D) -> Entry[D]:
        appended = Ledger(self.platform.system, family, USECASE, type(document)).append(lambda _: document)
        assert appended is not None
        return appended

    def _check(self, model: bytes, interface: ModelInterface, sample: SampleRows, **limits: Any) -> CheckResult:
        self.checks.append({"model": model, "interface": interface, "sample": sample, **limits})
        return self.check


def data_of(outcome: Outcome) -> list[Payload]:
    """Return the events that a handler returned, without what dispatch adds to them."""
    return [emit.data for emit in outcome.emits]


def writes(trace: Sequence[tuple[str, str]]) -> list[str]:
    """Return the keys that were created, hints and intents left out, each once."""
    created = (key for operation, key in trace if operation == "put_new" and not key.startswith("intents/"))
    return list(dict.fromkeys(created))
