"""trigger: each cause is decided once, on record, and what is granted is submitted as a job under a lease."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from functions.trigger import SUBMIT_LEASE_S, handle
from shared import layout
from shared.data.records import ColumnRule, DatasetVersion
from shared.documents import decode, digest_of, encode, hex_of
from shared.errors import IntegrityError
from shared.events import Event, ModelRegistered, TrainingGranted, TrainingRequested
from shared.monitoring.windows import bounds
from shared.pipeline.records import PipelineVersion, TrainingDecision
from shared.registry.ledger import Ledger
from shared.usecase.charter import Monitoring, Retraining, Training
from tests.functions.given import Given, data_of
from tests.functions.material import COLUMNS, KEY, USECASE

CAUSE = TrainingRequested(cause="dataset.9", kind="new_data")


def ask(given: Given, asked: TrainingRequested = CAUSE, origin: str = "test") -> list[Any]:
    return data_of(handle(given.event(asked, origin), given.platform))


def decisions(given: Given) -> list[TrainingDecision]:
    return given.entries(layout.TRAININGS, TrainingDecision)


def test_an_event_of_another_type_is_refused(given: Given) -> None:
    with pytest.raises(IntegrityError, match="trigger is not subscribed"):
        handle(given.event(ModelRegistered(number=1)), given.platform)
    assert given.keys() == []


# What is refused


def no_charter(given: Given) -> None:
    given.contract()
    given.dataset("2013-01")


def unsigned_charter(given: Given) -> None:
    given.data(signed=False)


def no_dataset(given: Given) -> None:
    given.contract(given.charter())


def no_contract(given: Given) -> None:
    given.charter()
    given.dataset("2013-01")
    given.dataset("2013-02")


def too_few_windows(given: Given) -> None:
    given.data("2013-01")


def too_few_windows_of_its_kind(given: Given) -> None:
    given.data("2013-01", "2013-02", training=Training(minimum_windows=60), monitoring=Monitoring(window="day"))


def a_cause_that_the_charter_does_not_name(given: Given) -> None:
    given.data(retraining=Retraining(on=("drift",), cooldown_days=0))
    given.grant()


def cooldown(given: Given) -> None:
    given.data("2013-01", "2013-02", "2013-03", retraining=Retraining(on=("new_data",), cooldown_days=40))
    given.grant()


def budget(given: Given) -> None:
    given.data(
        "2013-01", "2013-02", "2013-03", retraining=Retraining(on=("new_data",), cooldown_days=0, trainings_per_year=1)
    )
    given.grant()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (no_charter, "no charter in effect, or no dataset yet"),
        (unsigned_charter, "no charter in effect, or no dataset yet"),
        (no_dataset, "no charter in effect, or no dataset yet"),
        (no_contract, "no contract has every column of the charter"),
        (too_few_windows, "1 month of data, training.minimum_windows is 2"),
        (too_few_windows_of_its_kind, "59 days of data, training.minimum_windows is 60"),
        (a_cause_that_the_charter_does_not_name, "retraining.on does not name new_data, only drift"),
        (cooldown, "31.0 days of data since the last training, retraining.cooldown_days is 40"),
        (budget, "1 training in the last 365 days of data, retraining.trainings_per_year is 1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_refusal_is_recorded_with_its_reason(given: Given, make: Callable[[Given], Any], reason: str) -> None:
    make(given)
    earlier = len(decisions(given))
    assert ask(given) == []
    decision = decisions(given)[-1]
    assert len(decisions(given)) == earlier + 1
    assert (decision.cause, decision.granted, decision.key, decision.spec) == ("dataset.9", False, None, None)
    assert reason in decision.reason
    assert given.keys("pipelines/") == []
    assert given.world.jobs.pending() == []
    assert given.edges() == [f"training.{earlier + 1} <- cause dataset.9"]


def test_a_refusal_by_policy_says_where_the_data_ended(given: Given) -> None:
    given.data("2013-01")
    ask(given)
    assert decisions(given)[0].data_end == bounds("2013-01")[1] - 1.0


def test_exactly_the_same_training_is_not_granted_for_another_cause(given: Given) -> None:
    given.data()
    ask(given)
    assert ask(given, TrainingRequested(cause="person.ada", kind="person")) == []
    assert "exactly this training was granted before" in decisions(given)[1].reason
    assert decisions(given)[1].key is None


def test_a_training_that_failed_is_not_tried_again_on_the_same_data(given: Given) -> None:
    given.data()
    (granted,) = ask(given)
    given.failure(granted.key)
    assert ask(given, TrainingRequested(cause="person.ada", kind="person")) == []
    assert "exactly this training was granted before" in decisions(given)[1].reason


def test_a_training_that_failed_starts_no_cooldown(given: Given) -> None:
    given.data(retraining=Retraining(on=("new_data",), cooldown_days=365))
    (granted,) = ask(given)
    given.failure(granted.key)
    given.dataset("2013-03")
    assert [type(event) for event in ask(given, TrainingRequested(cause="dataset.3", kind="new_data"))] == [
        TrainingGranted
    ]
    assert "the first training" in decisions(given)[1].reason


def test_a_training_that_succeeded_or_runs_starts_a_cooldown(given: Given) -> None:
    given.data(retraining=Retraining(on=("new_data",), cooldown_days=365))
    (granted,) = ask(given)
    given.dataset("2013-03")
    assert ask(given, TrainingRequested(cause="dataset.3", kind="new_data")) == []
    given.result(granted.key)
    assert ask(given, TrainingRequested(cause="dataset.4", kind="new_data")) == []
    assert all("retraining.cooldown_days" in decision.reason for decision in decisions(given)[1:])


# Which contract


def test_the_contract_that_was_made_for_the_charter_comes_before_a_newer_one_that_fits(given: Given) -> None:
    version = given.data()
    given.contract()
    (granted,) = ask(given)
    spec = decisions(given)[0].spec
    assert spec is not None
    assert (spec.contract, spec.charter_digest) == (1, version.digest)
    assert granted == TrainingGranted(number=1, key=hex_of(digest_of(encode(spec))))


def test_else_the_newest_contract_that_has_all_columns(given: Given) -> None:
    given.charter()
    given.contract()
    given.contract()
    given.contract(target_column="open")
    given.dataset("2013-01")
    given.dataset("2013-02")
    ask(given)
    spec = decisions(given)[0].spec
    assert spec is not None
    assert spec.contract == 2


def renamed(name: str) -> dict[str, Any]:
    columns = [msgspec.structs.replace(rule, name="other") if rule.name == name else rule for rule in COLUMNS]
    return {"columns": tuple(columns)}


def of_kind(name: str, kind: Any) -> dict[str, Any]:
    return {"columns": tuple(ColumnRule(name=name, kind=kind) if rule.name == name else rule for rule in COLUMNS)}


@pytest.mark.parametrize(
    "contract",
    [
        renamed("shut"),
        renamed("at"),
        renamed("row"),
        renamed("x"),
        renamed("colour"),
        of_kind("x", "text"),
        of_kind("colour", "number"),
        {"time_column": "day"},
        {"target_column": "open"},
        {"target_positive": "yes"},
    ],
    ids=lambda contract: str(sorted(contract)),
)
def test_a_contract_that_lacks_what_the_charter_names_does_not_fit(given: Given, contract: dict[str, Any]) -> None:
    given.charter()
    given.contract(**contract)
    given.dataset("2013-01")
    given.dataset("2013-02")
    assert ask(given) == []
    assert "no contract has every column of the charter" in decisions(given)[0].reason


# What is granted


def test_a_grant_resolves_the_charter_to_datasets_windows_and_code(given: Given) -> None:
    version = given.data("2013-01", "2013-02")
    given.model()
    given.release(1)
    (granted,) = ask(given)
    (decision,) = decisions(given)
    spec = decision.spec
    assert spec is not None
    datasets = Ledger(given.platform.system, layout.DATASETS, USECASE, DatasetVersion)
    assert [(ref.number, ref.digest) for ref in spec.datasets] == [
        (n, digest_of(datasets.get_bytes(n))) for n in (1, 2)
    ]
    assert (spec.start, spec.test_start, spec.end) == (bounds("2013-01")[0], *bounds("2013-02"))
    assert (spec.charter_digest, spec.champion) == (version.digest, 1)
    settings = given.platform.settings
    assert (spec.code_digest, spec.libraries_digest) == (settings.train_code_digest, settings.train_libraries_digest)
    (pipeline,) = given.entries(layout.PIPELINES, PipelineVersion)
    assert (spec.pipeline, spec.pipeline_digest) == (1, digest_of(encode(pipeline)))
    assert granted == TrainingGranted(number=1, key=decision.key or "")
    assert decision.data_end == bounds("2013-02")[1] - 1.0
    assert sorted(given.edges()) == [f"run.{decision.key} <- granted training.1", "training.1 <- cause dataset.9"]


def test_only_the_newest_windows_count_where_the_charter_says_how_many(given: Given) -> None:
    given.data("2013-01", "2013-02", "2013-03", training=Training(windows=2))
    ask(given)
    spec = decisions(given)[0].spec
    assert spec is not None
    assert [ref.number for ref in spec.datasets] == [2, 3]
    assert (spec.start, spec.test_start) == (bounds("2013-02")[0], bounds("2013-03")[0])


def test_a_dataset_that_touches_the_first_window_with_one_row_counts(given: Given) -> None:
    given.data("2013-02", "2013-03", training=Training(windows=2))
    given.dataset("2013-01", time_end=bounds("2013-02")[0])
    ask(given)
    spec = decisions(given)[0].spec
    assert spec is not None
    assert [ref.number for ref in spec.datasets] == [1, 2, 3]


def test_the_same_way_of_training_is_one_pipeline_version(given: Given) -> None:
    given.data()
    ask(given)
    given.dataset("2013-03")
    ask(given, TrainingRequested(cause="dataset.3", kind="new_data"))
    assert all(decision.granted for decision in decisions(given))
    assert len(given.entries(layout.PIPELINES, PipelineVersion)) == 1
    given.charter(training=Training(trials=3))
    ask(given, TrainingRequested(cause="person.ada", kind="person"))
    assert [each.trials for each in given.entries(layout.PIPELINES, PipelineVersion)] == [2, 3]


def test_a_cause_is_decided_once_whatever_has_changed_since(given: Given) -> None:
    given.data()
    first = ask(given)
    given.dataset("2013-03")
    state = given.world.system.digest()
    assert ask(given, origin="again") == first
    assert given.world.system.digest() == state


def test_a_cause_that_was_refused_stays_refused(given: Given) -> None:
    ask(given)
    given.data()
    assert ask(given, origin="again") == []
    assert len(decisions(given)) == 1


# What is submitted


def submit(given: Given, origin: str = "test") -> None:
    outcome = handle(given.event(TrainingGranted(number=1, key=KEY), origin), given.platform)
    assert data_of(outcome) == []


def test_a_grant_is_submitted_as_a_job_with_what_the_charter_gives_it(given: Given) -> None:
    given.charter()
    submit(given)
    (spec,) = given.submitted()
    assert (spec.name, spec.function) == (f"train-{USECASE}-{KEY[:12]}", "train")
    assert (spec.memory_mb, spec.timeout_s) == (1024, 600)
    assert decode(spec.event, Event) == given.event(TrainingGranted(number=1, key=KEY))


def test_a_grant_whose_charter_is_gone_is_submitted_with_the_usual_budget(given: Given) -> None:
    submit(given)
    (spec,) = given.submitted()
    assert (spec.memory_mb, spec.timeout_s) == (4096, 3600)


def test_another_event_submits_no_second_job_while_the_lease_lasts(given: Given) -> None:
    submit(given, "first")
    given.world.clock.advance(SUBMIT_LEASE_S - 1.0)
    submit(given, "second")
    assert len(given.world.jobs.pending()) == 1
    given.world.clock.advance(1.0)
    submit(given, "second")
    assert len(given.world.jobs.pending()) == 2


def test_the_same_event_submits_again_since_its_first_job_may_never_have_been_made(given: Given) -> None:
    submit(given)
    submit(given)
    assert len(given.world.jobs.pending()) == 2
