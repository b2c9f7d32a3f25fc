"""Faults that are neither crashes nor lost answers: poison messages, changes at a bad moment, size, repetition."""

import copy
from collections.abc import Iterator

import msgspec
import pytest

import functions.validate
from adapters.memory.faults import Decision
from functions.reconcile import LONGEST_REPEAT_S
from functions.runtimes import dispatch
from functions.train import MAX_ATTEMPTS
from shared import layout
from shared.data.records import Contract, Receipt
from shared.documents import decode, digest_of, encode
from shared.errors import IntegrityError, Unavailable
from shared.events import TrainingRequested, UploadReceived, first_event
from shared.pipeline.records import TrainingDecision, TrainingResult
from shared.registry.ledger import Ledger
from shared.serving.records import ReleaseDecision
from shared.usecase.charter import Charter, CharterVersion, Features, Kpi, Monitoring, Signature
from shared.usecase.effective import charters
from tests.simulation.material import CHARTER, MONTHS, USECASE
from tests.simulation.scenario import STEPS, begin, release
from tests.simulation.test_crashes import undisturbed
from tests.simulation.world import World, call

MONITORING = "monitoring, alert, second training"


def sign(world: World, charter: Charter) -> None:
    """Put another charter in effect."""
    signatures = tuple(Signature(role, "somebody", 0.0) for role in charter.sign_off)
    version = CharterVersion(charter=charter, digest=digest_of(encode(charter)), signatures=signatures)
    charters(world.system, USECASE).append(lambda _: version)


def decision_on(world: World, name: str) -> TrainingDecision:
    """Request a training by hand. Return the decision."""
    event = first_event(
        TrainingRequested(cause=f"person.{name}", kind="person"), usecase=USECASE, source="/cli", origin=name, at=1.0
    )
    world.queues["trigger"].send(encode(event))
    while world.work_on("trigger"):
        pass
    entry = Ledger(world.system, layout.TRAININGS, USECASE, TrainingDecision).tail()
    assert entry is not None
    return entry.document


@pytest.mark.parametrize(
    "charter",
    [
        msgspec.structs.replace(CHARTER, kpis=(*CHARTER.kpis, Kpi(metric="accuracy", at_least=0.1, monitored=True))),
        msgspec.structs.replace(CHARTER, monitoring=Monitoring(minimum_rows=20, minimum_effect=0.99)),
    ],
    ids=["one more KPI", "another limit"],
)
def test_a_charter_change_between_a_report_and_its_alerts_changes_neither(charter: Charter) -> None:
    before, after, trace, _ = undisturbed()[MONITORING]
    puts = [number for number, (_, op, key) in enumerate(trace, 1) if op == "put_new" and key.startswith("windows/")]
    world = copy.deepcopy(before)
    world.faults.begin([Decision(puts[0], "crash-after")])
    STEPS[MONITORING](world)
    while not world.crashes:
        world.settle(1, must=False)
    assert not [key for key in world.system._keys if key.startswith("alerts/")]
    sign(world, charter)
    world.settle()
    assert world.failed == []
    assert world.check().findings == ()
    for key in after.system._keys:
        if key.startswith(("windows/", "alerts/")):
            assert world.system._objects[key].body == after.system._objects[key].body


def test_an_upload_that_cannot_be_validated_does_not_flood_the_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(*_: object) -> Receipt:
        raise IntegrityError("poison")

    monkeypatch.setattr(functions.validate, "_validate", poisoned)
    world = begin()
    STEPS["upload of January"](world)
    for _ in range(24 * 60):
        world.clock.advance(60.0)
        world.tick("reconcile")
        for function in ("reconcile", "validate"):
            while world.work_on(function):
                pass
    assert 2 <= len(world.queues["validate"]._dead) <= 15
    monkeypatch.undo()
    world.clock.advance(LONGEST_REPEAT_S)
    world.settle()
    assert [decode(body, Receipt).state for body in _under(world, "receipts/")] == ["accepted"]
    assert world.check().findings == ()


def test_a_training_whose_every_execution_dies_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _granted()
    died = 0

    def killed(*_: object) -> object:
        nonlocal died
        died += 1
        raise Unavailable("killed, as for lack of memory")

    monkeypatch.setattr("tests.simulation.world.cached_train", killed)
    for _ in range(24 * 60):
        world.clock.advance(60.0)
        world.tick("reconcile")
        for function in ("reconcile", "trigger"):
            while world.work_on(function):
                pass
        while world.run_job():
            pass
    assert died == MAX_ATTEMPTS
    (result,) = _under(world, "runs/", "result.json")
    failed = decode(result, TrainingResult)
    assert failed.state == "failed"
    assert "memory_mb" in failed.reason
    world.settle()
    assert world.check().findings == ()


@pytest.mark.parametrize("error", [ValueError("a value of row 7: Smith"), MemoryError()])
def test_an_error_in_the_training_itself_fails_it_at_once(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    world = _granted()

    def broken(*_: object) -> object:
        raise error

    monkeypatch.setattr("tests.simulation.world.cached_train", broken)
    world.settle()
    (result,) = _under(world, "runs/", "result.json")
    failed = decode(result, TrainingResult)
    assert failed.state == "failed"
    assert failed.reason
    assert "Smith" not in failed.reason
    assert world.failed == []
    assert world.check().findings == ()


def test_a_dropped_file_that_is_too_large_is_refused_unread() -> None:
    world = begin()
    small = msgspec.structs.replace(world.platform("validate").settings, max_file_bytes=1000)
    key = f"drops/{USECASE}/large.csv"
    world.landing.put_new(key, MONTHS["2013-01"])
    info = world.landing.head(key)
    assert info is not None
    event = first_event(UploadReceived(key=key, etag=info.etag), usecase=USECASE, source="/t", origin="t", at=0.0)
    world.faults.begin(tracing=True)
    dispatch.deliver("validate", event, msgspec.structs.replace(world.platform("validate"), settings=small))
    assert ("landing", "get", key) not in (world.faults.trace or [])
    (body,) = _under(world, "receipts/")
    receipt = decode(body, Receipt)
    assert receipt.state == "refused"
    assert "1,000" in receipt.anomalies[0].message
    assert world.landing.head(key) is not None
    world.settle()
    assert world.check().findings == ()


def test_a_training_is_granted_only_with_a_contract_that_has_what_the_charter_names() -> None:
    world = copy.deepcopy(undisturbed()["upload of March"][1])
    kpi = msgspec.structs.replace(CHARTER, kpis=(Kpi(metric="roc_auc", at_least=0.5),))
    sign(world, kpi)  # columns as they were: the contract still does
    assert decision_on(world, "kpi").granted
    narrower = msgspec.structs.replace(CHARTER, features=Features(numeric=("level",), categorical=("moon",)))
    sign(world, narrower)
    assert decision_on(world, "narrower").granted
    wider = msgspec.structs.replace(CHARTER, features=Features(numeric=("level", "wind", "gusts"), categorical=()))
    sign(world, wider)
    refused = decision_on(world, "wider")
    assert not refused.granted
    assert "next upload" in refused.reason
    sign(world, CHARTER)  # back to the first: its own contract, not the newest
    for entry in Ledger(world.system, layout.CONTRACTS, USECASE, Contract).entries():
        assert entry.document.charter_digest == digest_of(encode(CHARTER))


def test_a_repeated_rollback_request_rolls_back_once() -> None:
    world = copy.deepcopy(undisturbed()["predictions after the rollback"][1])
    release(50, action="promote", model=2 if _champion(world) == 1 else 1)(world)
    rollback = call("release", {"usecase": USECASE}, {"action": "rollback", "reason": "complaints"}, 60)
    first, second = world.request("release", rollback), world.request("release", rollback)
    assert (first.status, first.body) == (200, second.body)
    other = msgspec.structs.replace(
        rollback, request=msgspec.structs.replace(rollback.request, body=b'{"action":"rollback","reason":"other"}')
    )
    assert world.request("release", other).status == 409
    wrong = msgspec.structs.replace(
        rollback, request=msgspec.structs.replace(rollback.request, headers={"idempotency-key": "no key"})
    )
    assert world.request("release", wrong).status == 400
    somebody_else = msgspec.structs.replace(rollback, subject="another")
    assert world.request("release", somebody_else).body != first.body


def _granted() -> World:
    """Return a world in which a training is granted and its job waits."""
    world = begin()
    for name in ("upload of January", "upload of February, first training"):
        STEPS[name](world)
    for _ in range(5):
        for function in ("validate", "trigger"):
            while world.work_on(function):
                pass
    assert world.jobs.pending()
    return world


def _champion(world: World) -> int | None:
    tail = Ledger(world.system, layout.RELEASES, USECASE, ReleaseDecision).tail()
    return tail.document.champion if tail else None


def _under(world: World, prefix: str, suffix: str = "") -> Iterator[bytes]:
    for key in sorted(world.system._keys):
        if key.startswith(prefix) and key.endswith(suffix):
            yield world.system._objects[key].body
