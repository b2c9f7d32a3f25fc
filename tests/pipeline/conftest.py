"""Synthetic snapshots with a known signal, with their charters and specs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shared.pipeline.records import TrainingSpec
from shared.usecase.charter import Charter, Features, Payoff, ReleaseRules, Target, Training

DAY_S = 86_400
START = 1_356_998_400.0
"""2013-01-01, UTC."""
FEATURES = Features(numeric=("wind speed", "delay", "seats"), categorical=("carrier", "weekday"))


@pytest.fixture
def make_table() -> Callable[..., Any]:
    """Return a builder of tables: `rows` in `days` days, with a signal unless `signal` is 0."""

    def build(rows: int = 2_000, days: int = 40, seed: int = 0, signal: float = 1.5) -> Any:
        random = np.random.default_rng(seed)
        time = np.sort(random.uniform(START, START + days * DAY_S, rows))
        wind, delay = random.normal(10, 3, rows), random.normal(0, 1, rows)
        seats = random.integers(50, 300, rows).astype(float)
        carrier = random.choice(["AA", "UA", "DL", "B6"], rows)
        weekday = np.floor(time / DAY_S) % 7
        log_odds = signal * (delay + (carrier == "UA") - 0.5 * (wind > 12)) - 0.5
        late = (random.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(float)
        return pa.table(
            {
                "id": pa.array([f"f{number}" for number in range(rows)]),
                "at": pa.array((time * 1e6).astype(np.int64)).cast(pa.timestamp("us", "UTC")),
                "wind speed": pa.array(wind, mask=random.random(rows) < 0.2),
                "delay": pa.array(delay),
                "seats": pa.array(seats, mask=random.random(rows) < 0.05),
                "carrier": pa.array(carrier.tolist(), mask=random.random(rows) < 0.1),
                "weekday": pa.array(weekday),
                "late": pa.array(late),
            }
        )

    return build


@pytest.fixture
def make_charter() -> Callable[..., Charter]:
    """Return a builder of charters; keyword arguments replace its sections."""

    def build(**sections: Any) -> Charter:
        usual: dict[str, Any] = {
            "usecase": "flights",
            "problem": "late flights",
            "objective": "warn in time",
            "owners": {},
            "sign_off": (),
            "task": "binary",
            "target": Target(column="late"),
            "time_column": "at",
            "id_columns": ("id",),
            "features": FEATURES,
            "kpis": (),
            "payoff": Payoff(true_positive=2, false_positive=-1),
            "training": Training(trials=2),
            "release": ReleaseRules(resamples=200),
        }
        return Charter(**(usual | sections))

    return build


@pytest.fixture
def make_spec() -> Callable[..., TrainingSpec]:
    """Return a builder of specs: the last `test_days` of `days` test."""

    def build(days: int = 40, test_days: int = 12, **fields: Any) -> TrainingSpec:
        usual: dict[str, Any] = {
            "usecase": "flights",
            "datasets": (),
            "start": START,
            "test_start": START + (days - test_days) * DAY_S,
            "end": START + days * DAY_S,
            "charter_digest": "sha256:0",
            "contract": 1,
            "contract_digest": "sha256:0",
            "pipeline": 1,
            "pipeline_digest": "sha256:0",
            "seed": 7,
            "trials": 2,
            "code_digest": "sha256:0",
            "libraries_digest": "sha256:0",
        }
        return TrainingSpec(**(usual | fields))

    return build
