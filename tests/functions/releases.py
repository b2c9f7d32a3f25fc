"""What the tests of release share: scores, and calls of the handler."""

import json
from typing import Any

from functions.release import handle
from shared import layout
from shared.events import ModelRegistered
from shared.serving.records import ReleaseDecision
from tests.functions.given import Given, data_of
from tests.functions.material import evaluation_of, key_of

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
