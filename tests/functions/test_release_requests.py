"""release: a promotion or a rollback by a person, once for each Idempotency-Key."""

import json
from typing import Any

import pytest

from shared.documents import encode
from shared.errors import InvalidInput, InvalidTransition, NotFound, PayloadTooLarge
from tests.functions.given import Given
from tests.functions.releases import WRONG, ask, decide, decisions, scored


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
