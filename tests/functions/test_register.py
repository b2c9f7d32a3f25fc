"""register: a result gets a number only after everything that it refers to was checked; a refusal is final."""

from typing import Any

import msgspec
import pytest

from functions.register import CHECKS, handle
from shared import layout
from shared.documents import encode, hex_of
from shared.errors import NotFound
from shared.events import ModelRegistered, TrainingFinished
from shared.layout import blob_key
from shared.pipeline.records import TrainingResult
from shared.registry.blob import get_blob, get_document_blob, read_document
from shared.registry.refusals import Refusal
from shared.registry.signatures import key_id_of, public_of, verify
from shared.serving.records import ModelManifest, ModelVersion
from tests.functions.given import CheckResult, Given, data_of, writes
from tests.functions.material import KEY, SAMPLE, USECASE, key_of
from tests.runtimes.conftest import SIGNING
from tests.serving.conftest import build, nodes_and_weights

MODEL = bytes(build(*nodes_and_weights()).SerializeToString())
"""A real ONNX file: self-contained, as register demands."""
BLOBS = ("model_digest", "evaluation_digest", "sample_digest", "reference_digest")


def register(given: Given, key: str = KEY, origin: str = "test") -> list[Any]:
    return data_of(handle(given.event(TrainingFinished(number=1, key=key), origin), given.platform))


def models(given: Given) -> list[ModelVersion]:
    return given.entries(layout.MODELS, ModelVersion)


def refusal_of(given: Given, key: str = KEY) -> str:
    refusal = read_document(given.platform.system, layout.REFUSALS.key(usecase=USECASE, key=key), Refusal)
    return refusal.reason if refusal else ""


def refused(given: Given) -> str:
    """Register, and return the reason on record; no model and no manifest may come of it."""
    before = given.keys()
    assert register(given) == []
    assert set(given.keys()) - set(before) == {f"runs/{USECASE}/{KEY}/refusal.json"}
    return refusal_of(given)


def test_a_result_is_checked_signed_and_numbered(given: Given) -> None:
    result = given.result(model=MODEL)
    assert register(given) == [ModelRegistered(number=1)]
    (version,) = models(given)
    body = get_blob(given.platform.system, version.manifest_digest)
    verify(body, version.signature, version.signed_by, {key_id_of(SIGNING): public_of(SIGNING)})
    manifest = get_document_blob(given.platform.system, version.manifest_digest, ModelManifest)
    assert (manifest.training_key, version.training_key) == (KEY, KEY)
    assert (manifest.model_digest, manifest.size_bytes) == (result.model_digest, len(MODEL))
    assert (manifest.threshold, manifest.checked) == (0.5, CHECKS)
    assert given.edges() == [f"model.1 <- registered run.{KEY}"]
    assert given.keys("releases/") == []


def test_the_model_is_checked_on_the_sample_within_the_limits_of_the_settings(given: Given) -> None:
    given.change(check_memory_mb=123, check_timeout_s=4.5)
    result = given.result(model=MODEL)
    register(given)
    assert given.checks == [
        {"model": MODEL, "interface": result.interface, "sample": SAMPLE, "memory_mb": 123, "timeout_s": 4.5}
    ]


def test_the_entry_in_the_ledger_comes_after_its_manifest(given: Given) -> None:
    given.result(model=MODEL)
    families = [key.partition("/")[0] for key in writes(given.traced(lambda: register(given)))]
    assert families == ["blobs", "models", "edges", "edges"]


def test_a_result_that_is_announced_again_keeps_its_number(given: Given) -> None:
    given.result(model=MODEL)
    given.result(key_of("other"), model=MODEL)
    register(given)
    register(given, key_of("other"))
    state = given.world.digest()
    assert register(given, origin="again") == [ModelRegistered(number=1)]
    assert given.world.digest() == state
    assert [version.training_key for version in models(given)] == [KEY, key_of("other")]


def test_a_training_without_a_result_is_an_error(given: Given) -> None:
    with pytest.raises(NotFound, match="has no result"):
        register(given)
    assert given.keys() == []


def test_a_training_that_failed_is_neither_registered_nor_refused(given: Given) -> None:
    given.failure(KEY)
    before = given.keys()
    assert register(given) == []
    assert (given.keys(), given.checks) == (before, [])


def test_a_result_that_was_refused_stays_refused(given: Given) -> None:
    given.result(model=MODEL)
    given.check = CheckResult(False, "it took too long")
    register(given)
    given.check = CheckResult(True)
    state = given.world.digest()
    assert register(given, origin="again") == []
    assert given.world.digest() == state
    assert len(given.checks) == 1


@pytest.mark.parametrize("field", ["algorithm", "threshold", "interface", *BLOBS])
def test_a_result_that_lacks_a_part_of_its_evidence_is_refused(given: Given, field: str) -> None:
    given.result(model=MODEL, **{field: None})
    assert "lacks a model or its evidence" in refused(given)
    assert given.checks == []


@pytest.mark.parametrize("field", BLOBS)
def test_a_result_of_which_a_blob_is_gone_is_refused(given: Given, field: str) -> None:
    result = given.result(model=MODEL)
    given.platform.system.delete(blob_key(hex_of(getattr(result, field))))
    assert "no such object" in refused(given)
    assert given.checks == []


@pytest.mark.parametrize("field", BLOBS)
def test_a_result_of_which_a_blob_was_changed_is_refused(given: Given, field: str) -> None:
    result = given.result(model=MODEL)
    given.platform.system.put(blob_key(hex_of(getattr(result, field))), MODEL + b"!")
    assert "do not match its digest" in refused(given)
    assert given.checks == []


def test_an_evaluation_that_is_another_document_is_refused(given: Given) -> None:
    result = given.result(model=MODEL)
    place = layout.RESULTS.key(usecase=USECASE, key=KEY)
    given.platform.system.put(place, encode(msgspec.structs.replace(result, evaluation_digest=result.sample_digest)))
    assert "expected a document of format evaluation/1" in refused(given)


def test_a_model_that_is_not_self_contained_is_refused_before_it_is_loaded(given: Given) -> None:
    given.result(model=b"not an ONNX file")
    assert refused(given)
    assert given.checks == []


def test_a_model_that_fails_its_check_is_refused(given: Given) -> None:
    given.result(model=MODEL)
    given.check = CheckResult(False, "probabilities differ by 0.2")
    reason = refused(given)
    assert "failed its check in a limited process" in reason
    assert "probabilities differ by 0.2" in reason
    assert models(given) == []


def test_without_a_signing_key_nothing_is_registered_and_nothing_refused(given: Given) -> None:
    given.result(model=MODEL)
    given.world.secrets._values.clear()
    before = given.keys()
    with pytest.raises(NotFound, match="no secret 'signing-key'"):
        register(given)
    assert given.keys() == before
    given.world.secrets.put("signing-key", SIGNING)
    assert register(given) == [ModelRegistered(number=1)]


def test_a_result_of_a_newer_format_is_not_refused_but_an_error(given: Given) -> None:
    """A newer Tidegate wrote it, perhaps during an upgrade: the one that can read it may still register it."""
    body = encode(TrainingResult(usecase=USECASE, key=KEY, state="succeeded")).replace(b"result/1", b"result/2")
    given.platform.system.put_new(layout.RESULTS.key(usecase=USECASE, key=KEY), body)
    with pytest.raises(Exception, match="written by a newer Tidegate"):
        register(given)
    assert refusal_of(given) == ""
