"""The next actions of a use case: a failure always has one, and a success has none."""

import pytest

from shared import layout
from shared.data.records import Anomaly, Receipt
from shared.monitoring.records import Alert, ServiceFigures, WindowReport
from shared.monitoring.status import Action, status
from shared.pipeline.records import TrainingDecision
from shared.registry.blob import create_document
from shared.registry.ledger import Ledger
from tests.functions.given import Given
from tests.functions.material import KEY, USECASE

FIGURES = ServiceFigures(requests=0, errors=0, latency_p50_ms=None, latency_p99_ms=None, memory_mb=None)


@pytest.fixture
def given() -> Given:
    """A use case whose charter is in effect, with two months of data."""
    given = Given()
    given.data()
    return given


def actions(given: Given) -> list[Action]:
    return list(status(given.platform.system, USECASE).actions)


def receipt(given: Given, name: str, state: str, *anomalies: Anomaly) -> None:
    id_ = f"{len(given.keys('receipts/')) + 1:064x}"
    key = layout.RECEIPTS.key(usecase=USECASE, receipt=id_)
    source = f"uploads/{USECASE}/one/{name}"
    document = Receipt(
        usecase=USECASE,
        receipt=id_,
        source_key=source,
        etag="e",
        state=state,  # type: ignore[arg-type]
        anomalies=anomalies,
    )
    create_document(given.platform.system, key, document)


def refused(given: Given, cause: str, reason: str) -> None:
    decision = TrainingDecision(usecase=USECASE, cause=cause, granted=False, reason=reason)
    Ledger(given.platform.system, layout.TRAININGS, USECASE, TrainingDecision).append(lambda _: decision)


def window(given: Given, name: str, model: int, *kinds: str) -> None:
    alerts = tuple(
        Alert(
            usecase=USECASE,
            alert=f"{kind}-m{model}-{name}",
            state="raised",
            kind=kind,  # type: ignore[arg-type]
            model=model,
            window=name,
            summary=f"{kind} in {name}",
            remedy="look",
        )
        for kind in kinds
    )
    report = WindowReport(
        usecase=USECASE,
        model=model,
        window=name,
        start=0.0,
        end=1.0,
        rows=0,
        labelled_rows=0,
        feature_drift=(),
        target_drift=None,
        kpis=(),
        service=FIGURES,
        alerts=alerts,
    )
    number = layout.number_name(model)
    create_document(given.platform.system, layout.WINDOWS.key(usecase=USECASE, number=number, window=name), report)
    for alert in alerts:
        key = layout.ALERTS.key(usecase=USECASE, alert=alert.alert, number=layout.number_name(1))
        create_document(given.platform.system, key, alert)


def test_a_running_training_needs_no_action(given: Given) -> None:
    given.grant()
    assert actions(given) == []


def test_each_role_that_has_not_signed_must_sign(given: Given) -> None:
    given.charter(signed=False, problem="Another one.")
    assert [(action.who, action.what) for action in actions(given)] == [("business (Harbour)", "sign off the charter")]


@pytest.mark.parametrize("state", ["quarantined", "refused"])
def test_a_failed_upload_is_fixed_by_an_accepted_file_of_its_name(given: Given, state: str) -> None:
    given.grant()
    missing = Anomaly(column="x", kind="missing_column", severity="error", count=0, message="no x", remedy="add x")
    receipt(given, "a.csv", state, missing)
    what = "correct a.csv and upload it under the same name: add x"
    assert actions(given) == [Action("sender of the file", what, "no x")]
    receipt(given, "b.csv", "accepted")
    assert len(actions(given)) == 1
    receipt(given, "a.csv", "accepted")
    assert actions(given) == []


def test_a_failed_training_stays_a_failure_after_a_refused_request(given: Given) -> None:
    training = given.grant().document
    assert training.key is not None
    given.failure(training.key, "out of memory")
    refused(given, "dataset.2", "the cooldown is not over")
    assert actions(given) == [Action("data science", "look at training 1", "out of memory")]


def test_a_use_case_without_a_granted_training_names_the_reason(given: Given) -> None:
    refused(given, "dataset.1", "1 month of data, training.minimum_windows is 2")
    reason = "1 month of data, training.minimum_windows is 2"
    assert actions(given) == [Action("data science", "see why training 1 was refused", reason)]


def test_a_first_model_that_the_gates_refuse_needs_an_action(given: Given) -> None:
    given.grant()
    given.release(None, reason="roc_auc 0.51 < 0.6")
    assert actions(given) == [Action("data science", "find better features or data", "roc_auc 0.51 < 0.6")]


def test_only_alerts_of_the_champions_newest_window_are_open(given: Given) -> None:
    given.model(KEY)
    given.release(1)
    window(given, "2013-03", 1, "drift")
    window(given, "2013-04", 1, "performance")
    window(given, "2013-05", 2, "drift")  # of a model that does not serve
    assert [action.what for action in actions(given)] == ["look at alert performance-m1-2013-04"]
    window(given, "2013-05", 1)
    assert actions(given) == []


def test_an_alert_needs_no_action_while_its_training_runs(given: Given) -> None:
    given.model(KEY)
    given.release(1)
    window(given, "2013-03", 1, "drift")
    training = given.grant(cause="alert.drift-m1-2013-03").document
    assert actions(given) == []
    assert training.key is not None
    given.failure(training.key, "out of memory")
    expected = ["look at training 1", "look at alert drift-m1-2013-03"]
    assert [action.what for action in actions(given)] == expected
