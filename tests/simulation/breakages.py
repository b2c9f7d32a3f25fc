"""Breakages of stored state: for each check of fsck at least one, and some changes that are harmless."""

from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa

from adapters.memory.store import MemoryStore
from shared import layout
from shared.documents import Document, decode, encode, hex_of
from shared.layout import Family, blob_key, number_name
from shared.monitoring.stored import KINDS
from shared.pipeline.records import Claim, Trial
from shared.registry.blob import put_blob, put_document_blob
from shared.registry.edges import link
from shared.registry.ledger import Hint, Intent
from shared.registry.refusals import Refusal
from shared.registry.signatures import sign
from shared.serving.capture_files import read_arrow, to_arrow
from shared.serving.records import ModelManifest, Prediction
from tests.simulation.material import CHARTER, PRIVATE_KEY, USECASE
from tests.simulation.world import World

Breakage = Callable[[World], object]
NO_KEY = "0" * 64


def store_of(world: World, family: Family) -> MemoryStore:
    return {"landing": world.landing, "system": world.system, "capture": world.capture}[family.store]


def place(world: World, family: Family, number: int = 0) -> str:
    """Return a key of a family, by its place in the order of keys."""
    return sorted(key for key in store_of(world, family)._keys if family.parse(key) is not None)[number]


def document(world: World, family: Family, number: int = 0) -> Any:
    return decode(world.system._objects[place(world, family, number)].body, KINDS[family.name])


def lose(family: Family, number: int = 0) -> Breakage:
    """Lose an object."""
    return lambda world: store_of(world, family).delete(place(world, family, number))


def lose_end(family: Family) -> Breakage:
    """Lose a ledger's last entry and its hint. The ledger itself shows no gap."""

    def breakage(world: World) -> None:
        world.system.delete(place(world, family, -1))
        world.system.delete(layout.HINTS.key(ledger=family.name, usecase=USECASE))

    return breakage


def lose_blob(family: Family, field: str, number: int = 0) -> Breakage:
    """Lose a blob that a document names."""
    return lambda world: world.system.delete(blob_key(hex_of(getattr(document(world, family, number), field))))


def alter(family: Family, number: int = 0, **fields: object) -> Breakage:
    """Change fields of a document."""

    def breakage(world: World) -> None:
        altered = msgspec.structs.replace(document(world, family, number), **fields)
        world.system.put(place(world, family, number), encode(altered))

    return breakage


def overwrite(family: Family, body: bytes, number: int = 0) -> Breakage:
    """Replace the bytes of an object."""
    return lambda world: store_of(world, family).put(place(world, family, number), body)


def add(key: str, stray: Document) -> Breakage:
    """Add a document under a key that should have none."""
    return lambda world: world.system.put(key, encode(stray))


def alter_predictions(**fields: object) -> Breakage:
    """Change fields of the captured predictions."""

    def breakage(world: World) -> None:
        key = place(world, layout.PREDICTIONS)
        world.capture.put(key, to_arrow([msgspec.structs.replace(one, **fields) for one in captured(world)]))

    return breakage


def captured(world: World) -> list[Prediction]:
    return read_arrow(world.capture._objects[place(world, layout.PREDICTIONS)].body)


def alter_manifest(**fields: object) -> Breakage:
    """Sign another manifest for a model."""

    def breakage(world: World) -> None:
        body = world.system.get(blob_key(hex_of(document(world, layout.MODELS).manifest_digest))).body
        resign(world, encode(msgspec.structs.replace(decode(body, ModelManifest), **fields)))

    return breakage


def resign(world: World, body: bytes) -> None:
    digest, signature = put_blob(world.system, body), sign(body, PRIVATE_KEY)
    alter(layout.MODELS, manifest_digest=digest, signature=signature)(world)


def alter_gate_report(**fields: object) -> Breakage:
    """Change the gates' decision on a release."""

    def breakage(world: World) -> None:
        report = msgspec.structs.replace(document(world, layout.RELEASES).gate_report, **fields)
        alter(layout.RELEASES, gate_report=report)(world)

    return breakage


def accept_a_refused_file(world: World) -> None:
    number = next(number for number in range(9) if document(world, layout.RECEIPTS, number).state == "quarantined")
    alter(layout.RECEIPTS, number, state="accepted", dataset=1)(world)


def lose_a_drops_receipt(world: World) -> None:
    number = next(number for number in range(9) if "drops/" in document(world, layout.RECEIPTS, number).source_key)
    lose(layout.RECEIPTS, number)(world)


def lose_a_refused_files_validation(world: World) -> None:
    number = next(number for number in range(9) if not document(world, layout.VALIDATIONS, number).accepted)
    lose(layout.VALIDATIONS, number)(world)


def number_a_key_twice(world: World) -> None:
    model = document(world, layout.MODELS)
    world.system.put(layout.MODELS.key(usecase=USECASE, number=number_name(3)), encode(model))


def decide_a_cause_twice(world: World) -> None:
    release = document(world, layout.RELEASES)
    number = int(layout.RELEASES.parse(place(world, layout.RELEASES, -1))["number"]) + 1
    world.system.put(layout.RELEASES.key(usecase=USECASE, number=number_name(number)), encode(release))


def answer_twice(world: World) -> None:
    other = [msgspec.structs.replace(one, probability=0.123) for one in captured(world)]
    key = layout.PREDICTIONS.key(usecase=USECASE, date="2013-03-01", hour="01", batch=NO_KEY)
    world.capture.put(key, to_arrow(other))


def capture_of_a_newer_format(world: World) -> None:
    key = place(world, layout.PREDICTIONS)
    table = pa.ipc.open_file(world.capture._objects[key].body).read_all()
    newer = table.replace_schema_metadata({**table.schema.metadata, b"format": b"capture/2"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, newer.schema) as writer:
        writer.write_table(newer)
    world.capture.put(key, sink.getvalue().to_pybytes())


def document_of_a_newer_format(world: World) -> None:
    key = place(world, layout.VALIDATIONS)
    world.system.put(key, world.system._objects[key].body.replace(b"validation/1", b"validation/2"))


def lose_a_datasets_file(world: World) -> None:
    world.system.delete(blob_key(hex_of(document(world, layout.DATASETS).files[0].digest)))


def run(family: Family, **names: str) -> str:
    return family.key(usecase=USECASE, key=NO_KEY, **names)


FOREIGN_CHARTER = msgspec.structs.replace(CHARTER, usecase="other")
NO_CLAIM = Claim(usecase=USECASE, key=NO_KEY, attempt=1, holder="", leased_until=0.0)
NO_TRIAL = Trial(number=0, algorithm="logistic_regression", parameters={}, score=0.0)
NO_REFUSAL = Refusal(usecase=USECASE, key=NO_KEY, reason="")


def copy_a_result(world: World) -> None:
    world.system.put(run(layout.RESULTS), world.system._objects[place(world, layout.RESULTS)].body)


def refuse_a_result(world: World) -> None:
    key = document(world, layout.RESULTS).key
    refusal = msgspec.structs.replace(NO_REFUSAL, key=key)
    world.system.put(layout.REFUSALS.key(usecase=USECASE, key=key), encode(refusal))


def sign_no_manifest(world: World) -> None:
    resign(world, b"{}")


def sign_a_newer_manifest(world: World) -> None:
    resign(world, b'{"format":"manifest/2"}')


BREAKAGES: list[tuple[str, str, Breakage]] = [
    ("upload_receipts", "uploads/tides/", lose(layout.RECEIPTS, 2)),
    ("upload_receipts", "drops/tides/again.csv: an upload without a receipt", lose_a_drops_receipt),
    ("receipt_uploads", "not that of the upload it names", alter(layout.RECEIPTS, etag="another")),
    ("accepted_datasets", "dataset 99, which does not hold", alter(layout.RECEIPTS, 1, dataset=99)),
    ("accepted_datasets", "dataset None, which does not hold", alter(layout.RECEIPTS, 1, dataset=None)),
    ("accepted_datasets", "dataset 1, which does not hold", accept_a_refused_file),
    ("quarantined_files", "is not kept in quarantine", lose(layout.QUARANTINE)),
    ("quarantined_files", "is not the one that came in", overwrite(layout.QUARANTINE, b"torn")),
    ("model_numbers", "has a model number already: models/tides/00000001.json", number_a_key_twice),
    ("dense_ledgers", "trainings/tides: the ledger has no entry 1 and goes on to 4", lose(layout.TRAININGS)),
    ("dense_ledgers", "releases/tides: the ledger has no entry 2 and goes on to 4", lose(layout.RELEASES, 1)),
    ("hinted_entries", "the hint points to entry 99", overwrite(layout.HINTS, encode(Hint(number=99)))),
    ("intended_entries", "entry 99 was seen at the tail", overwrite(layout.INTENTS, encode(Intent(tail=99)))),
    ("known_ledgers", "hints/nowhere/", add("hints/nowhere/tides.json", Hint(number=0))),
    ("known_ledgers", "intents/nowhere/", add(f"intents/nowhere/tides/{NO_KEY}.json", Intent(tail=0))),
    ("release_causes", "model.1 is decided already in releases/tides/00000001.json", decide_a_cause_twice),
    ("champion_history", "not the one that the history leads to", alter(layout.RELEASES, -1, champion=1)),
    ("champion_history", "not the one that the history leads to", alter(layout.RELEASES, -1, champion=None)),
    ("rollback_models", "lead to model 2, which is missing", lose_end(layout.MODELS)),
    ("readable_captures", "not a capture file", overwrite(layout.PREDICTIONS, b"torn")),
    ("readable_captures", "written by a newer Tidegate", capture_of_a_newer_format),
    ("prediction_models", "is of model 99, which is missing", alter_predictions(model=99)),
    ("prediction_revisions", "is of revision 99, which is missing", alter_predictions(revision=99)),
    ("prediction_revisions", "is of revision 4, which is missing", lose_end(layout.RELEASES)),
    ("prediction_revisions", "not of the champion of revision 2", alter_predictions(revision=2)),
    ("prediction_answers", "in the log twice", answer_twice),
    ("own_use_case", "'other' is stored under 'tides'", alter(layout.RECEIPTS, usecase="other")),
    ("own_use_case", "'other' is stored under 'tides'", alter(layout.CHARTERS, charter=FOREIGN_CHARTER)),
    ("own_predictions", "'other' are stored under 'tides'", alter_predictions(usecase="other")),
    ("signed_manifests", "is missing or damaged", lose_blob(layout.MODELS, "manifest_digest")),
    ("signed_manifests", "the signature", alter(layout.MODELS, signature="AA")),
    ("signed_manifests", "not among the trust roots", alter(layout.MODELS, signed_by="0" * 16)),
    ("signed_manifests", "expected a document of format manifest/1", sign_no_manifest),
    ("signed_manifests", "written by a newer Tidegate", sign_a_newer_manifest),
    ("manifest_subjects", "about another model", alter_manifest(usecase="other")),
    ("manifest_subjects", "about another model", alter_manifest(training_key=NO_KEY)),
    ("manifest_blobs", "its model, blob", lose_blob(layout.RESULTS, "model_digest")),
    ("manifest_blobs", "its evaluation, blob", lose_blob(layout.RESULTS, "evaluation_digest")),
    ("manifest_blobs", "its reference, blob", lose_blob(layout.RESULTS, "reference_digest")),
    ("known_keys", "no family of system has such a key", add("somewhere/else.json", Hint(number=0))),
    ("readable_documents", "not a valid", overwrite(layout.DATASETS, b"{")),
    ("readable_documents", "written by a newer Tidegate", document_of_a_newer_format),
    ("whole_blobs", "do not match the digest in its key", overwrite(layout.BLOBS, b"torn")),
    ("charter_digests", "not the one that its digest names", alter(layout.CHARTERS, digest=f"sha256:{NO_KEY}")),
    ("contract_charters", "contracts/tides/00000001.json: the charter", lose_end(layout.CHARTERS)),
    ("contract_charters", "or lacks signatures", alter(layout.CHARTERS, signatures=())),
    ("validation_blobs", "its profile, blob", lose_blob(layout.VALIDATIONS, "profile_digest")),
    ("validation_contracts", "contract 99 is missing", alter(layout.VALIDATIONS, contract=99)),
    ("receipt_validations", "its validation report is missing", lose_a_refused_files_validation),
    ("dataset_blobs", "its file, blob", lose_a_datasets_file),
    ("dataset_blobs", "its profile, blob", lose_blob(layout.DATASETS, "profile_digest")),
    ("dataset_validations", "its validation report is missing", lose(layout.VALIDATIONS)),
    ("dataset_contracts", "contract 1 is missing", lose_end(layout.CONTRACTS)),
    ("dataset_receipts", "the receipt of its upload is missing", alter(layout.DATASETS, receipt=NO_KEY)),
    ("training_specs", "granted without a spec and a key", alter(layout.TRAININGS, 1, spec=None)),
    ("training_specs", "granted without a spec and a key", alter(layout.TRAININGS, 1, key=None)),
    ("training_keys", "not the digest of its spec", alter(layout.TRAININGS, 1, key=NO_KEY)),
    ("training_datasets", "dataset 1 is missing or is not", alter(layout.DATASETS, rows=1)),
    ("training_datasets", "dataset 3 is missing or is not", lose_end(layout.DATASETS)),
    ("training_contracts", "contract 1 is missing or is not", alter(layout.CONTRACTS, max_rows=1)),
    ("training_contracts", "contract 1 is missing or is not", lose_end(layout.CONTRACTS)),
    ("training_pipelines", "pipeline 1 is missing or is not", alter(layout.PIPELINES, seed=8)),
    ("training_pipelines", "pipeline 1 is missing or is not", lose_end(layout.PIPELINES)),
    ("training_charters", "trainings/tides/00000002.json: the charter", lose_end(layout.CHARTERS)),
    ("training_charters", "or lacks signatures", alter(layout.CHARTERS, signatures=())),
    ("training_champions", "model 1, the champion to compare with", lose(layout.MODELS)),
    ("run_grants", "among the claims", add(run(layout.CLAIMS, attempt="0001"), NO_CLAIM)),
    ("run_grants", "among the trials", add(run(layout.TRIALS, trial="0001"), NO_TRIAL)),
    ("run_grants", "among the results", copy_a_result),
    ("run_grants", "among the refusals", add(run(layout.REFUSALS), NO_REFUSAL)),
    ("run_grants", "among the results", alter(layout.TRAININGS, 1, granted=False)),
    ("result_blobs", "its model, blob", lose_blob(layout.RESULTS, "model_digest")),
    ("result_blobs", "its evaluation, blob", lose_blob(layout.RESULTS, "evaluation_digest")),
    ("result_blobs", "its sample, blob", lose_blob(layout.RESULTS, "sample_digest")),
    ("result_blobs", "its reference, blob", lose_blob(layout.RESULTS, "reference_digest")),
    ("refusal_results", "the training result that it refuses", add(run(layout.REFUSALS), NO_REFUSAL)),
    ("model_results", "models/tides/00000001.json: the training result", lose(layout.RESULTS)),
    ("release_models", "its champion, model 99", alter(layout.RELEASES, champion=99)),
    ("release_models", "its challenger, model 99", alter(layout.RELEASES, challenger=99)),
    ("release_models", "its candidate, model 99", alter_gate_report(model=99)),
    ("release_models", "its champion at the gates, model 99", alter_gate_report(champion=99)),
    ("window_models", "model 99 is missing", alter(layout.WINDOWS, model=99)),
    ("window_alerts", "alert drift-m1-2013-03 is missing or is not", lose(layout.ALERTS)),
    ("window_alerts", "alert drift-m1-2013-03 is missing or is not", alter(layout.ALERTS, summary="nothing")),
    ("alert_windows", "window 2013-03 of model 1 is missing", lose(layout.WINDOWS)),
    ("edge_keys", "not the one that its key names", alter(layout.EDGES, kind="other")),
    ("edge_directions", "not written in both directions", lose(layout.EDGES)),
    ("edge_nodes", "dataset.3 is missing", lose_end(layout.DATASETS)),
    ("edge_nodes", "training.4 is missing", lose_end(layout.TRAININGS)),
    ("edge_nodes", "run.", lose_end(layout.TRAININGS)),
    ("edge_nodes", "model.2 is missing", lose_end(layout.MODELS)),
    ("edge_nodes", "release.4 is missing", lose_end(layout.RELEASES)),
    ("edge_nodes", "upload.", lose(layout.RECEIPTS, 1)),
    ("edge_nodes", "window.m1-2013-03 is missing", lose(layout.WINDOWS)),
    ("edge_nodes", "alert.drift-m1-2013-03 is missing", lose(layout.ALERTS)),
    ("event_places", "not the one that its key names", alter(layout.EVENTS, time="1999-01-01T00:00:00.000Z")),
    ("event_places", "not the one that its key names", alter(layout.EVENTS, id=NO_KEY)),
]
"""The check that must find it, a part of "key: message", and the breakage."""

HARMLESS: dict[str, Breakage] = {
    "a stale hint": overwrite(layout.HINTS, encode(Hint(number=1))),
    "no hint": lose(layout.HINTS),
    "a person asked": lambda world: link(world.system, USECASE, "person.tester", "cause", "training.1"),
    "asked for by number": alter_predictions(revision=0),
    "a file that was never read": alter(layout.VALIDATIONS, contract=0),
    "a receipt without validation": alter(layout.RECEIPTS, validation_key=None),
    "a result that was refused": refuse_a_result,
    "one blob more": lambda world: put_document_blob(world.system, NO_TRIAL),
}
