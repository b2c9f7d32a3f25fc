"""Other training code, or other libraries, are a cause of training, once for each combination."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from functions.reconcile import _train_unit
from shared import layout
from shared.events import TrainingRequested
from shared.pipeline.records import TrainingDecision, TrainingSpec
from shared.platform import Emit
from shared.registry.ledger import Ledger
from tests.runtimes.conftest import Stack, new_stack

MakeSpec = Callable[..., TrainingSpec]
DAYS = 86_400.0
NOW = 2_000 * DAYS


def stack_with(*decisions: TrainingDecision, **settings: Any) -> Stack:
    stack = new_stack(train_code_digest="sha256:" + "b" * 64, train_libraries_digest="sha256:" + "c" * 64, **settings)
    for decision in decisions:
        ledger = Ledger(stack.platform.system, layout.TRAININGS, decision.usecase, TrainingDecision)
        ledger.append(lambda tail, decision=decision: decision)  # type: ignore[misc]
    return stack


def granted(spec: TrainingSpec, cause: str = "dataset.2") -> TrainingDecision:
    return TrainingDecision(
        usecase="tides", cause=cause, granted=True, reason="r", key="a" * 64, spec=spec, data_end=NOW
    )


def asked(stack: Stack) -> list[Emit]:
    return list(_train_unit("tides", stack.platform))


@pytest.fixture
def old(make_spec: MakeSpec) -> TrainingSpec:
    return make_spec(usecase="tides", code_digest="sha256:" + "a" * 64, libraries_digest="sha256:" + "c" * 64)


def test_other_training_code_requests_a_training_once(old: TrainingSpec) -> None:
    stack = stack_with(granted(old))
    (emit,) = asked(stack)
    data = emit.data
    assert isinstance(data, TrainingRequested)
    assert (data.kind, data.cause.partition(".")[0], emit.at) == ("new_code", "code", NOW)
    assert asked(stack) == [emit], "a repetition gives the same event"
    refused = TrainingDecision(usecase="tides", cause=data.cause, granted=False, reason="r", data_end=NOW)
    assert asked(stack_with(granted(old), refused)) == []


def test_the_code_that_trained_last_requests_nothing(old: TrainingSpec) -> None:
    same = msgspec.structs.replace(old, code_digest="sha256:" + "b" * 64)
    assert asked(stack_with(granted(same))) == []
    libraries = msgspec.structs.replace(same, libraries_digest="sha256:" + "d" * 64)
    assert len(asked(stack_with(granted(libraries)))) == 1
    assert asked(stack_with(granted(old), granted(same, "dataset.3"))) == []


def test_without_a_first_training_or_a_digest_nothing_is_requested(old: TrainingSpec) -> None:
    assert asked(stack_with()) == []
    stack = stack_with(granted(old))
    bare = msgspec.structs.replace(stack.platform.settings, train_code_digest="")
    assert list(_train_unit("tides", msgspec.structs.replace(stack.platform, settings=bare))) == []
