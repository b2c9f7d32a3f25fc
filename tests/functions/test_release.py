"""release: one decision by gates for each model, against the champion of that moment; one for each Idempotency-Key."""

import json
from typing import Any

import pytest

from functions.release import handle
from shared import layout
from shared.documents import encode
from shared.errors import InvalidInput, InvalidTransition, NotFound, PayloadTooLarge
from shared.events import ModelRegistered
from shared.pipeline.records import MetricValue
from shared.ports import Created, Exists
from shared.serving.records import ReleaseDecision
from shared.usecase.charter import Kpi, Payoff, ReleaseRules
from tests.functions.given import Given, data_of
from tests.functions.material import USECASE, evaluation_of, key_of

GOOD = (0.1, 0.2, 0.8, 0.9)
POOR = (0.1, 0.8, 0.2, 0.9)
"""Scores whose ROC AUC is 0.75: good enough for the KPI, and worse than GOOD."""
WRONG = (0.9, 0.8, 0.2, 0.1)


def decide(given: Given, model: int, origin: str = "test") -> ReleaseDecision:
    """Let the gates decide, and return the last decision on record."""
    assert data_of(handle(given.event(ModelRegistered(number=model), origin), given.platform)) == []
    return decisions(given)[-1]


def ask(given: Given, action: str = "promote", reason: str = "it is better", **more: Any) -> dict[str, Any]:
    """Send a person's request and return what is answered."""
    sent = {name: more.pop(name) for name in ("key", "subject", "request") if name in more}
    body = more.pop("body", {"action": action, "reason": reason, **more})
    outcome = handle(given.call("release", body, **sent), given.platform)
    assert outcome.response is not None
    assert (outcome.response.status, outcome.emits) == (200, ())
    answer: dict[str, Any] = json.loads(outcome.response.body)
    return answer


def decisions(given: Given) -> list[ReleaseDecision]:
    return given.entries(layout.RELEASES, ReleaseDecision)


def scored(given: Given, name: str, scores: Any = GOOD, champion: int | None = None, against: Any = ()) -> int:
    """Register a model with these scores on the test rows, and the champion's beside them."""
    return given.model(key_of(name), evaluation=evaluation_of(scores, champion, against)).number


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


def test_a_person_promotes_a_model_whatever_its_gates_said(given: Given) -> None:
    given.charter()
    decide(given, scored(given, "first", WRONG))
    answer = ask(given, model=1, subject="ada")
    decision = decisions(given)[-1]
    assert answer == {"revision": 2, "release": json.loads(encode(decision))}
    assert (decision.action, decision.champion, decision.by) == ("promote", 1, "ada")
    assert (decision.reason, decision.cause) == ("it is better", "request.request-1")
    assert "release.2 <- promote model.1" in given.edges()


def test_a_person_rolls_back_to_the_champion_before(given: Given) -> None:
    for name in ("first", "second"):
        given.release(scored(given, name))
    answer = ask(given, "rollback", "it was worse")
    assert (answer["revision"], answer["release"]["champion"]) == (3, 1)
    assert decisions(given)[-1].action == "rollback"


@pytest.mark.parametrize("served", [0, 1])
def test_there_is_nothing_to_roll_back_to_before_a_second_champion(given: Given, served: int) -> None:
    for _ in range(served):
        given.release(scored(given, "first"))
    before = decisions(given)
    with pytest.raises(InvalidTransition, match="no earlier champion to roll back to"):
        ask(given, "rollback")
    assert decisions(given) == before


def test_a_rollback_after_a_rollback_goes_further_back(given: Given) -> None:
    for name in ("first", "second", "third"):
        given.release(scored(given, name))
    champions = [ask(given, "rollback", key=str(number))["release"]["champion"] for number in range(2)]
    assert champions == [2, 1]


@pytest.mark.parametrize(
    ("registered", "message"),
    [
        (0, "tides has no model 7; there is no model yet"),
        (1, "tides has no model 7; there is model 1"),
        (2, "tides has no model 7; there are models 1 to 2"),
    ],
)
def test_a_model_that_does_not_exist_is_not_promoted(given: Given, registered: int, message: str) -> None:
    for number in range(registered):
        scored(given, str(number))
    with pytest.raises(NotFound, match=message):
        ask(given, model=7)
    assert decisions(given) == []


def test_a_promotion_needs_the_number_of_a_model(given: Given) -> None:
    with pytest.raises(InvalidInput, match="promote needs the number of a model") as raised:
        ask(given)
    assert raised.value.field == "model"
    assert decisions(given) == []


def test_a_rollback_with_a_model_changes_nothing(given: Given) -> None:
    for name in ("first", "second"):
        given.release(scored(given, name))
    before = decisions(given)
    with pytest.raises(InvalidInput, match="a rollback goes to the previous champion") as raised:
        ask(given, "rollback", model=2)
    assert raised.value.field == "model"
    assert decisions(given) == before


def test_a_used_key_does_not_answer_a_promotion_without_a_model(given: Given) -> None:
    scored(given, "first")
    ask(given, model=1, key="k1")
    with pytest.raises(InvalidInput, match="promote needs the number of a model"):
        ask(given, key="k1")


def test_the_champion_is_not_promoted_again(given: Given) -> None:
    given.release(scored(given, "first"))
    with pytest.raises(InvalidTransition, match="model 1 is the champion already"):
        ask(given, model=1)
    assert len(decisions(given)) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "promote", "reason": " ", "model": 1}, "reason"),
        ({"action": "promote", "model": 1}, "reason"),
        ({"action": "withdraw", "reason": "r"}, "action"),
        ({"action": "promote", "reason": "r", "model": "1"}, "model"),
        ({"action": "promote", "reason": "r", "champion": 1}, "champion"),
        (b"{", "body"),
    ],
    ids=["blank reason", "no reason", "unknown action", "model as text", "unknown field", "no JSON"],
)
def test_a_request_that_is_not_understood_is_refused_by_its_field(given: Given, body: object, field: str) -> None:
    scored(given, "first")
    with pytest.raises(InvalidInput) as raised:
        ask(given, body=body)
    assert raised.value.field == field
    assert decisions(given) == []


def test_a_request_over_the_limit_of_size_is_refused(given: Given) -> None:
    scored(given, "first")
    given.change(max_request_bytes=100)
    with pytest.raises(PayloadTooLarge, match="send a shorter reason"):
        ask(given, model=1, reason="r" * 100)
    assert decisions(given) == []


def test_a_request_that_is_sent_again_under_its_key_is_answered_alike(given: Given) -> None:
    scored(given, "first")
    scored(given, "second")
    first = ask(given, model=1, key="k1", request="request-1")
    ask(given, model=2, key="k2", request="request-2")
    state = given.world.digest()
    assert ask(given, model=1, key="k1", request="request-3") == first
    assert given.world.digest() == state


def test_a_request_without_a_key_is_a_new_one_each_time(given: Given) -> None:
    for name in ("first", "second", "third"):
        given.release(scored(given, name))
    assert ask(given, "rollback", request="request-1")["release"]["champion"] == 2
    assert ask(given, "rollback", request="request-2")["release"]["champion"] == 1


@pytest.mark.parametrize(
    "other",
    [
        {"action": "rollback"},
        {"action": "promote", "model": 2, "reason": "another reason"},
        {"action": "promote", "model": 1},
    ],
    ids=["action", "reason", "model"],
)
def test_a_key_that_was_used_for_another_request_is_refused(given: Given, other: dict[str, Any]) -> None:
    given.release(scored(given, "first"))
    scored(given, "second")
    ask(given, model=2, key="k1")
    before = decisions(given)
    with pytest.raises(InvalidTransition, match=r"used for another request \(revision 2\)"):
        ask(given, key="k1", **other)
    assert decisions(given) == before


def test_another_persons_same_key_is_another_request(given: Given) -> None:
    for name in ("first", "second", "third"):
        given.release(scored(given, name))
    ask(given, "rollback", key="k1", subject="ada")
    ask(given, "rollback", key="k1", subject="bob")
    assert [decision.by for decision in decisions(given)[-2:]] == ["ada", "bob"]


def test_a_header_that_is_no_key_is_refused(given: Given) -> None:
    scored(given, "first")
    with pytest.raises(InvalidInput, match="idempotency-key is not valid"):
        ask(given, model=1, key="two words")
    assert decisions(given) == []


def test_a_redelivery_writes_a_missing_lineage_edge(given: Given) -> None:
    """A process that died between the decision and its lineage leaves the edge to the redelivered message."""
    given.charter()
    scored(given, "first")
    decide(given, 1)
    for key in given.keys("edges/"):
        given.platform.system.delete(key)
    decide(given, 1, "again")
    assert given.edges() == ["release.1 <- release model.1"]
