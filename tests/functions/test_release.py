"""release: one decision by gates for each model, against the champion of that moment."""

from typing import Any

import pytest

from functions.release import handle
from shared import layout
from shared.errors import NotFound
from shared.events import ModelRegistered
from shared.pipeline.records import MetricValue
from shared.ports import Created, Exists
from shared.usecase.charter import Kpi, Payoff, ReleaseRules
from tests.functions.given import Given
from tests.functions.material import USECASE, evaluation_of, key_of
from tests.functions.releases import GOOD, POOR, WRONG, decide, decisions, scored

# What the gates decide


def test_a_first_model_that_passes_its_gates_serves(given: Given) -> None:
    given.charter()
    decision = decide(given, scored(given, "first"))
    assert (decision.action, decision.champion, decision.by) == ("release", 1, "release")
    assert (decision.cause, decision.reason) == ("model.1", "every gate passed")
    assert decision.gate_report is not None
    assert (decision.gate_report.model, decision.gate_report.champion) == (1, None)
    assert given.edges() == ["release.1 <- release model.1"]


def test_a_model_that_misses_a_kpi_is_refused_and_no_model_serves(given: Given) -> None:
    given.charter()
    decision = decide(given, scored(given, "first", WRONG))
    assert (decision.action, decision.champion) == ("refuse", None)
    assert decision.reason == "did not pass: roc_auc at least 0.6"
    assert given.edges() == ["release.1 <- refuse model.1"]


def test_figures_that_the_evidence_does_not_give_are_refused(given: Given) -> None:
    given.charter()
    given.model(key_of("first"), metrics={"roc_auc": MetricValue(0.99, 0.9, 1.0)}, evaluation=evaluation_of(POOR))
    assert "evidence" in decide(given, 1).reason


def test_baselines_that_the_evidence_does_not_give_are_refused(given: Given) -> None:
    given.charter()
    given.model(key_of("first"), baselines={"never.payoff_per_1000": MetricValue(5.0, 5.0, 5.0)})
    assert "evidence" in decide(given, 1).reason


def test_a_model_that_beats_the_champion_replaces_it(given: Given) -> None:
    given.charter()
    scored(given, "first", POOR)
    given.release(1)
    decision = decide(given, scored(given, "second", GOOD, 1, POOR))
    assert (decision.action, decision.champion) == ("release", 2)
    assert decision.gate_report is not None
    assert decision.gate_report.champion == 1


def test_a_model_that_does_not_beat_the_champion_leaves_it_in_place(given: Given) -> None:
    given.charter()
    scored(given, "first")
    given.release(1)
    decision = decide(given, scored(given, "second", POOR, 1, GOOD))
    assert (decision.action, decision.champion, decision.reason) == ("refuse", 1, "did not pass: champion")


def test_a_model_that_was_compared_with_an_earlier_champion_is_refused(given: Given) -> None:
    given.charter()
    scored(given, "first", POOR)
    given.release(1)
    scored(given, "second")
    given.release(2)
    decision = decide(given, scored(given, "third", GOOD, 1, POOR))
    assert (decision.action, decision.champion) == ("refuse", 2)


def test_the_champion_is_measured_with_its_own_threshold(given: Given) -> None:
    """At its own threshold it acts on both positives; at the new model's it would act on one."""
    given.charter(
        kpis=(Kpi(metric="roc_auc", at_least=0.6),),
        payoff=Payoff(true_positive=1.0, false_positive=-1.0),
        release=ReleaseRules(resample_by="row", resamples=100, metric="payoff_per_1000"),
    )
    given.model(key_of("first"), threshold=0.25)
    given.release(1)
    given.model(key_of("second"), evaluation=evaluation_of(GOOD, 1, (0.1, 0.2, 0.3, 0.9)))
    assert decide(given, 2).action == "refuse"


def test_gates_are_evaluated_again_when_another_release_wins_the_append(given: Given) -> None:
    given.charter()
    scored(given, "first", POOR)
    scored(given, "second", GOOD, 1, POOR)
    system = given.world.system
    place = f"releases/{USECASE}/00000001.json"

    class Busy:
        """A store in which a person's promotion wins the place in the ledger."""

        def __getattr__(self, name: str) -> Any:
            return getattr(system, name)

        def put_new(self, key: str, body: bytes, **more: Any) -> Created | Exists:
            if key == place and system.head(place) is None:
                given.release(1, action="promote", cause="request.x")
            return system.put_new(key, body, **more)

    handle(given.event(ModelRegistered(number=2)), given.run_as(system=Busy()))
    decision = decisions(given)[-1]
    assert len(decisions(given)) == 2
    assert decision.gate_report is not None
    assert (decision.champion, decision.gate_report.champion) == (2, 1)


def test_a_model_is_decided_on_once(given: Given) -> None:
    given.charter()
    scored(given, "first", POOR)
    decide(given, 1)
    scored(given, "second", GOOD, 1, POOR)
    decide(given, 2)
    state = given.world.digest()
    decide(given, 1, "again")
    assert given.world.digest() == state
    assert [decision.champion for decision in decisions(given)] == [1, 2]


def test_a_model_that_is_not_on_record_is_an_error(given: Given) -> None:
    given.charter()
    with pytest.raises(NotFound):
        handle(given.event(ModelRegistered(number=1)), given.platform)
    assert decisions(given) == []


@pytest.mark.parametrize("missing", ["charter", "signature", "result"])
def test_without_a_charter_in_effect_or_a_result_there_is_no_decision(given: Given, missing: str) -> None:
    if missing != "charter":
        given.charter(signed=missing != "signature")
    scored(given, "first")
    if missing == "result":
        given.platform.system.delete(layout.RESULTS.key(usecase=USECASE, key=key_of("first")))
    with pytest.raises(NotFound, match="model 1 has no charter in effect or no training result"):
        handle(given.event(ModelRegistered(number=1)), given.platform)
    assert decisions(given) == []


# What a person asks for
