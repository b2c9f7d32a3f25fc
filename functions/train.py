"""train: the job that searches, tests and exports a model, and writes it as a training result.

It runs users' choices of algorithms, so it has no signing key and cannot write models or releases. Before it trains it
claims the training key. A second copy of the job finds an unexpired claim and ends at once.
Order of writes: the claim, lineage edges, trials, the result's blobs, the result.
"""

import io
import traceback
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from shared import layout
from shared.data.examine import read_table
from shared.data.records import Contract, DataFile, DatasetVersion
from shared.documents import digest_of, encode, hex_of
from shared.errors import InsufficientData, IntegrityError, InvalidInput, TidegateError
from shared.events import Event, TrainingFinished, TrainingGranted, payload
from shared.layout import attempt_name
from shared.pipeline.records import Claim, DatasetRef, TrainingDecision, TrainingResult, TrainingSpec, Trial
from shared.pipeline.training import ChampionModel, train
from shared.platform import Emit, Outcome, Platform
from shared.ports import ObjectStore
from shared.registry.blob import (
    create_document,
    get_blob,
    get_document_blob,
    put_blob,
    put_document_blob,
    read_document,
)
from shared.registry.edges import link
from shared.registry.ledger import Ledger
from shared.serving.records import ModelManifest, ModelVersion
from shared.usecase.charter import CharterVersion
from shared.usecase.effective import charters

MAX_ATTEMPTS = 5
"""How many executions may die during one training, of lack of memory or time, before the training fails."""
_TOO_MANY_ATTEMPTS = (
    f"{MAX_ATTEMPTS} executions died or ran out of time: raise training.memory_mb or training.timeout_s, or lower "
    "training.trials, in the charter"
)


def handle(event: Event, platform: Platform) -> Outcome:
    """Train what `event` (TrainingGranted) grants, unless it has a result or another execution's claim is unexpired.

    Returns: TrainingFinished, unless another execution is training.
    Raises: IntegrityError: the ledger's entry does not grant this key. TidegateError: a port failed; the job is run
        again.
    """
    granted = payload(event, TrainingGranted)
    usecase = event.usecase
    decision = Ledger(platform.system, layout.TRAININGS, usecase, TrainingDecision).get(granted.number).document
    spec = decision.spec
    if spec is None or hex_of(digest_of(encode(spec))) != granted.key:
        raise IntegrityError(f"training {granted.number} does not grant key {granted.key[:12]}", resource=granted.key)
    result_key = layout.RESULTS.key(usecase=usecase, key=granted.key)
    if read_document(platform.system, result_key, TrainingResult) is None:
        charter = _charter(platform.system, spec)
        attempt = claim(usecase, granted.key, charter.charter.training.timeout_s, platform)
        if attempt is None:
            return Outcome()
        for dataset in spec.datasets:  # before the result: an execution that finds a result does not come here
            link(platform.system, usecase, f"dataset.{dataset.number}", "data", f"run.{granted.key}")
        if attempt > MAX_ATTEMPTS:
            result = TrainingResult(usecase=usecase, key=granted.key, state="failed", reason=_TOO_MANY_ATTEMPTS)
        else:
            result = _result(granted.key, spec, charter, platform)
        create_document(platform.system, result_key, result)
    return Outcome([Emit(TrainingFinished(number=granted.number, key=granted.key))])


def claim(usecase: str, key: str, lease_s: float, platform: Platform) -> int | None:
    """Claim a training key. Returns the number of this attempt, from 1, None if another's claim is unexpired.

    An attempt follows each claim that expired. An execution that is restarted finds its own claim.
    """
    attempt = 1
    while True:
        claim_key = layout.CLAIMS.key(usecase=usecase, key=key, attempt=attempt_name(attempt))
        wanted = Claim(
            usecase=usecase,
            key=key,
            attempt=attempt,
            holder=platform.instance,
            leased_until=platform.clock.now() + lease_s,
        )
        existing = read_document(platform.system, claim_key, Claim) or create_document(
            platform.system, claim_key, wanted
        )
        if existing.holder == platform.instance:
            return attempt
        if existing.leased_until > platform.clock.now():
            return None
        attempt += 1


def _result(key: str, spec: TrainingSpec, charter: CharterVersion, platform: Platform) -> TrainingResult:
    """Train, store the output as blobs, and return the result.

    Unsuitable data and errors in the training itself give a failed result: the same data, code and seed would fail
    again. Other errors of ports (TidegateError) are raised, so that the job is run again.
    """
    store = platform.system
    failed = TrainingResult(usecase=spec.usecase, key=key, state="failed")
    try:
        table = read_snapshot(store, spec, charter)
        output = train(
            table, charter.charter, spec, _champion(store, spec), lambda trial: _record(trial, key, spec, store)
        )
    except (InvalidInput, InsufficientData, IntegrityError) as error:
        return msgspec.structs.replace(failed, reason=error.message)
    except TidegateError:
        raise
    except MemoryError:
        return msgspec.structs.replace(failed, reason="there was not enough memory: raise training.memory_mb")
    except Exception as error:
        return msgspec.structs.replace(failed, reason=_unexpected(error))
    return TrainingResult(
        usecase=spec.usecase,
        key=key,
        state="succeeded",
        model_digest=put_blob(store, output.model),
        algorithm=output.algorithm,
        parameters=output.parameters,
        metrics=output.metrics,
        baselines=output.baselines,
        threshold=output.threshold,
        evaluation_digest=put_document_blob(store, output.evaluation),
        sample_digest=put_document_blob(store, output.sample),
        reference_digest=put_document_blob(store, output.reference),
        interface=output.interface,
        parity=output.parity,
        rows_trained=output.rows_trained,
        rows_tested=output.rows_tested,
        champion=spec.champion,
    )


def _unexpected(error: Exception) -> str:
    """Return the error's type and place. Its message is left out, because it may quote the data."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"unexpected {type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: try another algorithm or "
        "seed in the charter, and report it"
    )


def read_snapshot(store: ObjectStore, spec: TrainingSpec, charter: CharterVersion) -> pa.Table:
    """Return the rows of the snapshot's datasets, typed by its contract.

    Of rows with the same id columns only the last is kept.
    Raises: IntegrityError: a ledger entry is not the one that the spec names by digest.
    """
    contract = Ledger(store, layout.CONTRACTS, spec.usecase, Contract)
    if digest_of(contract.get_bytes(spec.contract)) != spec.contract_digest:
        raise IntegrityError(f"contract {spec.contract} is not the one that was granted")
    rules = contract.get(spec.contract).document
    tables = [
        read_table(io.BytesIO(get_blob(store, file.digest)), file.name, rules)
        for file in _files(store, spec.usecase, spec.datasets)
    ]
    return _last_of_each(pa.concat_tables(tables), charter.charter.id_columns)


def _files(store: ObjectStore, usecase: str, datasets: Sequence[DatasetRef]) -> list[DataFile]:
    ledger = Ledger(store, layout.DATASETS, usecase, DatasetVersion)
    files: list[DataFile] = []
    for ref in datasets:
        if digest_of(ledger.get_bytes(ref.number)) != ref.digest:
            raise IntegrityError(f"dataset {ref.number} is not the one that was granted")
        files.extend(ledger.get(ref.number).document.files)
    return files


def _last_of_each(table: pa.Table, id_columns: Sequence[str]) -> pa.Table:
    if not id_columns:
        return table
    numbered = table.append_column("__row", pa.array(range(table.num_rows), pa.int64()))
    last = numbered.group_by(list(id_columns), use_threads=False).aggregate([("__row", "max")])
    if last.num_rows == table.num_rows:
        return table
    return table.take(last["__row_max"].combine_chunks().sort())


def _charter(store: ObjectStore, spec: TrainingSpec) -> CharterVersion:
    for entry in charters(store, spec.usecase).entries():
        if entry.document.digest == spec.charter_digest:
            return entry.document
    raise IntegrityError("the charter that was granted is not in the ledger", resource=spec.charter_digest)


def _champion(store: ObjectStore, spec: TrainingSpec) -> ChampionModel | None:
    if spec.champion is None:
        return None
    version = Ledger(store, layout.MODELS, spec.usecase, ModelVersion).get(spec.champion).document
    manifest = get_document_blob(store, version.manifest_digest, ModelManifest)
    return ChampionModel(
        number=spec.champion,
        model=get_blob(store, manifest.model_digest),
        interface=manifest.interface,
        threshold=manifest.threshold,
    )


def _record(trial: Trial, key: str, spec: TrainingSpec, store: ObjectStore) -> None:
    create_document(store, layout.TRIALS.key(usecase=spec.usecase, key=key, trial=attempt_name(trial.number)), trial)
