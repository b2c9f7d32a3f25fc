"""A platform over memory for each test, with nothing on record."""

import pytest

import functions.train
from shared.pipeline.records import TrainingDecision
from shared.registry.ledger import Entry
from tests.functions.given import Given
from tests.functions.trainings import Pipeline


@pytest.fixture
def given() -> Given:
    return Given()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    pipeline = Pipeline()
    monkeypatch.setattr(functions.train, "train", pipeline)
    return pipeline


@pytest.fixture
def grant(given: Given) -> Entry[TrainingDecision]:
    """A training that was granted on two months."""
    given.data()
    return given.grant()
