"""trigger: grant or refuse a request to train, and submit the job of a granted training.

It handles two events.
- TrainingRequested names a cause, a lineage node such as "dataset.3". Each cause has one decision in the trainings
  ledger. A grant has a key, the digest of everything that determines the result, and sends TrainingGranted.
- TrainingGranted submits the job under a lease of two minutes. Other events for the same key submit nothing during it.
  A redelivery of the same event may submit a copy of the job, which finds the claim of the first and ends.
"""

from collections.abc import Sequence

from shared import layout
from shared.data.records import Contract, DatasetVersion
from shared.documents import digest_of, digest_of_parts, encode, hex_of
from shared.events import Event, TrainingGranted, TrainingRequested, payload
from shared.monitoring.windows import bounds, windows_between
from shared.pipeline.code_version import PIPELINE_CODE_VERSION
from shared.pipeline.policy import training_allowed
from shared.pipeline.records import DatasetRef, PipelineVersion, TrainingDecision, TrainingResult, TrainingSpec
from shared.platform import Emit, Outcome, Platform, unexpected
from shared.ports import JobSpec, ObjectStore
from shared.registry.blob import read_document
from shared.registry.edges import link
from shared.registry.effects import perform
from shared.registry.ledger import Entry, Ledger
from shared.serving.records import ReleaseDecision
from shared.usecase.charter import Charter, CharterVersion
from shared.usecase.effective import effective_charter

SUBMIT_LEASE_S = 120.0
"""How long a submitted job has to claim its training key before another copy may be submitted."""


def handle(event: Event, platform: Platform) -> Outcome:
    """Decide on a TrainingRequested, or submit the job of a TrainingGranted.

    Returns: TrainingGranted if a request was granted.
    """
    if event.type == TrainingRequested.TYPE:
        return _decide(event.usecase, payload(event, TrainingRequested), platform)
    if event.type == TrainingGranted.TYPE:
        _submit(event, payload(event, TrainingGranted), platform)
        return Outcome()
    raise unexpected(event, "trigger")


def _decide(usecase: str, request: TrainingRequested, platform: Platform) -> Outcome:
    """Append the decision, unless the cause has one, then its lineage edges."""
    trainings = Ledger(platform.system, layout.TRAININGS, usecase, TrainingDecision)
    entry = trainings.append_once(
        digest_of_parts("training", request.cause),
        lambda decision: decision.cause == request.cause,
        lambda _: _decision(usecase, request, trainings, platform),
    )
    link(platform.system, usecase, request.cause, "cause", f"training.{entry.number}")
    decision = entry.document
    if not decision.granted or decision.key is None:
        return Outcome()
    link(platform.system, usecase, f"training.{entry.number}", "granted", f"run.{decision.key}")
    return Outcome([Emit(TrainingGranted(number=entry.number, key=decision.key))])


def _decision(
    usecase: str, request: TrainingRequested, trainings: Ledger[TrainingDecision], platform: Platform
) -> TrainingDecision:
    """Return the decision: refused with a reason, or granted with the training's specification and its key."""

    def refused(reason: str, data_end: float | None = None) -> TrainingDecision:
        return TrainingDecision(usecase=usecase, cause=request.cause, granted=False, reason=reason, data_end=data_end)

    charter = effective_charter(platform.system, usecase)
    datasets = list(Ledger(platform.system, layout.DATASETS, usecase, DatasetVersion).entries())
    if charter is None or not datasets:
        return refused("there is no charter in effect, or no dataset yet")
    rules = charter.document.charter
    contract = _contract(charter.document, platform.system)
    if contract is None:
        return refused("no contract has every column of the charter: the next upload that is accepted makes one")
    data_end = max(entry.document.time_end for entry in datasets)
    windows = windows_between(min(entry.document.time_start for entry in datasets), data_end, rules.monitoring.window)
    earlier = [entry.document for entry in trainings.entries()]
    counted = [decision for decision in earlier if not _failed(decision, platform.system)]
    allowed, reason = training_allowed(rules, request.kind, counted, data_end, len(windows))
    if not allowed:
        return refused(reason, data_end)
    spec = _spec(charter.document, contract, datasets, windows, platform)
    key = hex_of(digest_of(encode(spec)))
    if any(decision.key == key for decision in earlier):
        return refused("exactly this training was granted before: same data, charter, pipeline and code", data_end)
    return TrainingDecision(
        usecase=usecase, cause=request.cause, granted=True, reason=reason, key=key, spec=spec, data_end=data_end
    )


def _contract(charter: CharterVersion, store: ObjectStore) -> Entry[Contract] | None:
    """Return the contract that was made for the charter, else the newest one with every column of the charter."""
    contracts = list(Ledger(store, layout.CONTRACTS, charter.charter.usecase, Contract).entries())
    own = [entry for entry in contracts if entry.document.charter_digest == charter.digest]
    fitting = own or [entry for entry in contracts if _covers(charter.charter, entry.document)]
    return fitting[-1] if fitting else None


def _covers(rules: Charter, contract: Contract) -> bool:
    named = {rules.target.column, rules.time_column, *rules.id_columns, *rules.features.numeric}
    numbers = {rule.name for rule in contract.columns if rule.kind == "number"}
    return (
        {*named, *rules.features.categorical} <= {rule.name for rule in contract.columns}
        and set(rules.features.numeric) <= numbers
        and not set(rules.features.categorical) & numbers
        and contract.time_column == rules.time_column
        and contract.target_column == rules.target.column
        and contract.target_positive == rules.target.positive
    )


def _failed(decision: TrainingDecision, store: ObjectStore) -> bool:
    """Return whether a granted training failed. It then does not count as the first training or for the cooldown."""
    if decision.key is None:
        return False
    result = read_document(store, layout.RESULTS.key(usecase=decision.usecase, key=decision.key), TrainingResult)
    return result is not None and result.state == "failed"


def _spec(
    charter: CharterVersion,
    contract: Entry[Contract],
    datasets: Sequence[Entry[DatasetVersion]],
    windows: Sequence[str],
    platform: Platform,
) -> TrainingSpec:
    """Return the training's specification: its datasets by digest, and the time range by the charter's policy.

    The newest window is for the test, the windows before it are for training.
    """
    rules = charter.charter
    chosen = windows[-rules.training.windows :] if rules.training.windows else windows
    start, end = bounds(chosen[0])[0], bounds(chosen[-1])[1]
    pipeline = _pipeline(rules, platform.system)
    release = Ledger(platform.system, layout.RELEASES, rules.usecase, ReleaseDecision).tail()
    return TrainingSpec(
        usecase=rules.usecase,
        datasets=tuple(
            DatasetRef(entry.number, digest_of(encode(entry.document)))
            for entry in datasets
            if entry.document.time_start < end and entry.document.time_end >= start
        ),
        start=start,
        test_start=bounds(chosen[-1])[0],
        end=end,
        charter_digest=charter.digest,
        contract=contract.number,
        contract_digest=digest_of(encode(contract.document)),
        pipeline=pipeline.number,
        pipeline_digest=digest_of(encode(pipeline.document)),
        seed=rules.training.seed,
        trials=rules.training.trials,
        code_digest=platform.settings.train_code_digest,
        libraries_digest=platform.settings.train_libraries_digest,
        champion=release.document.champion if release else None,
    )


def _pipeline(rules: Charter, store: ObjectStore) -> Entry[PipelineVersion]:
    """Return the charter's pipeline version, appended to the ledger if it is not the newest entry."""
    version = PipelineVersion(
        usecase=rules.usecase,
        algorithms=rules.training.algorithms,
        trials=rules.training.trials,
        features=rules.features,
        seed=rules.training.seed,
        code_version=PIPELINE_CODE_VERSION,
    )
    pipelines = Ledger(store, layout.PIPELINES, rules.usecase, PipelineVersion)
    newest: list[Entry[PipelineVersion]] = []

    def make(tail: Entry[PipelineVersion] | None) -> PipelineVersion | None:
        if tail is None or tail.document != version:
            return version
        newest.append(tail)
        return None

    return pipelines.append(make) or newest[-1]


def _submit(event: Event, granted: TrainingGranted, platform: Platform) -> None:
    """Submit the training's job, unless another event's lease on the submission is unexpired."""
    charter = effective_charter(platform.system, event.usecase)
    needs = charter.document.charter.training if charter else None
    spec = JobSpec(
        name=f"train-{event.usecase}-{granted.key[:12]}",
        function="train",
        event=encode(event),
        memory_mb=needs.memory_mb if needs else 4096,
        timeout_s=needs.timeout_s if needs else 3600,
    )
    perform(
        platform.system,
        platform.clock,
        function="trigger",
        key=granted.key,
        holder=event.id,
        lease_s=lambda _: SUBMIT_LEASE_S,
        effect=lambda: platform.jobs.submit(spec),
    )
