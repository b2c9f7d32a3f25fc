"""What the handlers' tests are made of: a small use case, its charter, files, evidence, profiles and predictions."""

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from shared import layout
from shared.data.profile import Profile, profile_batches
from shared.data.records import ColumnRule
from shared.documents import digest_of_parts
from shared.events import rfc3339
from shared.layout import number_name
from shared.monitoring.windows import bounds
from shared.pipeline.records import Evaluation, ModelInterface, SampleRows, Tensor
from shared.serving.capture import prediction_id
from shared.serving.records import Prediction
from shared.usecase.charter import (
    Charter,
    Features,
    Kpi,
    Monitoring,
    ReleaseRules,
    Retraining,
    Target,
    Training,
)

USECASE = "tides"
CHARTER = Charter(
    usecase=USECASE,
    problem="Will the gate be shut?",
    objective="Warn an hour before.",
    owners={"business": "Harbour"},
    sign_off=("business",),
    task="binary",
    target=Target(column="shut"),
    time_column="at",
    id_columns=("row",),
    features=Features(numeric=("x",), categorical=("colour",)),
    kpis=(Kpi(metric="roc_auc", at_least=0.6),),
    training=Training(trials=2, minimum_windows=2, timeout_s=600, memory_mb=1024),
    release=ReleaseRules(resample_by="row", resamples=100),
    monitoring=Monitoring(minimum_rows=20, minimum_labels=20),
    retraining=Retraining(on=("new_data", "drift", "performance"), cooldown_days=0),
)
COLUMNS = (
    ColumnRule(name="row", kind="text"),
    ColumnRule(name="at", kind="time"),
    ColumnRule(name="x", kind="number"),
    ColumnRule(name="colour", kind="text"),
    ColumnRule(name="shut", kind="number", integer=True),
)
INTERFACE = ModelInterface(
    inputs=(
        Tensor(name="x", datatype="FP32", shape=(-1, 1)),
        Tensor(name="colour", datatype="BYTES", shape=(-1, 1)),
    ),
    outputs=(
        Tensor(name="probability", datatype="FP32", shape=(-1,)),
        Tensor(name="label", datatype="INT64", shape=(-1,)),
    ),
)
SAMPLE = SampleRows(rows=({"x": 0.0, "colour": "red"},), probabilities=(0.7310586,))
KEY = "ab" * 32
"""A training key, where it does not matter of which training."""
DIGEST = "sha256:" + "0" * 64
ROWS = 40
"""Rows of a made file: enough for a contract and for the drift tests of CHARTER."""


def key_of(name: str) -> str:
    """Return the training key that a test calls `name`."""
    return digest_of_parts("training", name)


@cache
def file_of(month: str, *, rows: int = ROWS) -> bytes:
    """Return a month's CSV file, in which the outcome follows x and colour with some noise."""
    chance = random.Random(month)
    start, end = bounds(month)
    lines = ["row,at,x,colour,shut"]
    for number in range(rows):
        x, colour = chance.gauss(0.0, 1.0), chance.choice(("red", "blue"))
        shut = int(x + (colour == "red") + chance.gauss(0.0, 0.5) > 0.5)
        lines.append(f"{month}/{number},{rfc3339(start + (end - start) * number / rows)},{x:.3f},{colour},{shut}")
    return ("\n".join(lines) + "\n").encode()


def evaluation_of(
    scores: Sequence[float] = (0.1, 0.2, 0.8, 0.9),
    champion: int | None = None,
    champion_scores: Sequence[float] = (),
    *,
    repeat: int = 10,
) -> Evaluation:
    """Return evidence on four test rows of outcomes 0, 0, 1, 1 and these scores, `repeat` times over."""
    rows = 4 * repeat
    return Evaluation(
        outcomes=(0, 0, 1, 1) * repeat,
        blocks=tuple(range(rows)),
        probabilities=tuple(scores) * repeat,
        champion=champion,
        champion_probabilities=tuple(champion_scores) * repeat,
    )


@cache
def profile_of(shift: float, rows: int = 200) -> Profile:
    """Return what a model learnt from: x about `shift`, colours red and blue, half of the outcomes 1."""
    chance = random.Random(shift)
    columns = {
        "x": pa.array([chance.gauss(shift, 1.0) for _ in range(rows)], pa.float64()),
        "colour": pa.array([("red", "blue")[number % 2] for number in range(rows)], pa.string()),
        "shut": pa.array([float(number % 2) for number in range(rows)], pa.float64()),
    }
    return profile_batches(pa.table(columns).to_batches())


def predictions_of(
    count: int, *, at: float, model: int = 1, shift: float = 0.0, request: str = "r", **fields: Any
) -> list[Prediction]:
    """Return captured rows of one request, x about `shift`, every second one scored 0.9 and the others 0.1."""
    chance = random.Random(f"{request}/{shift}")
    return [
        Prediction(
            **{
                "id": prediction_id(request, USECASE, number, at),
                "usecase": USECASE,
                "model": model,
                "revision": 1,
                "at": at,
                "request": request,
                "probability": (0.1, 0.9)[number % 2],
                "label": number % 2,
                "inputs": {"x": chance.gauss(shift, 1.0), "colour": ("red", "blue")[number % 2]},
                **fields,
            }
        )
        for number in range(count)
    ]


def claim_key(key: str, attempt: int) -> str:
    """Return where an attempt's claim is kept."""
    return layout.CLAIMS.key(usecase=USECASE, key=key, attempt=layout.attempt_name(attempt))


def window_key(model: int, window: str) -> str:
    """Return where a window's report is kept."""
    return layout.WINDOWS.key(usecase=USECASE, number=number_name(model), window=window)
