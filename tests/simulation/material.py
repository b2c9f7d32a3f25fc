"""A small use case with its files and keys, and the two slow pure functions with cached results."""

import random
from typing import Any

import pyarrow as pa

import functions.train
from shared.documents import digest_of, encode
from shared.events import rfc3339
from shared.monitoring.windows import bounds
from shared.pipeline.records import ModelInterface, SampleRows, TrainingSpec
from shared.pipeline.training import ChampionModel, TrainingOutput, train
from shared.registry.signatures import generate, key_id_of, public_of
from shared.serving.subprocess_check import CheckResult, check_in_subprocess
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
PRIVATE_KEY = generate(bytes(range(32)))
TRUST_ROOTS = {key_id_of(PRIVATE_KEY): public_of(PRIVATE_KEY)}

CHARTER = Charter(
    usecase=USECASE,
    problem="Will the gate be shut?",
    objective="Warn an hour before.",
    owners={"business": "Harbour", "data_science": "Gauges"},
    sign_off=("business", "data_science"),
    task="binary",
    target=Target(column="shut"),
    time_column="at",
    id_columns=("row",),
    features=Features(numeric=("level", "wind"), categorical=("moon",)),
    kpis=(Kpi(metric="roc_auc", at_least=0.6),),
    training=Training(trials=2, minimum_windows=2, timeout_s=600),
    release=ReleaseRules(resample_by="row", resamples=100),
    monitoring=Monitoring(minimum_rows=20, minimum_labels=20, minimum_effect=0.1),
    retraining=Retraining(cooldown_days=0),
)


def rows(month: str, count: int = 120, shift: float = 0.0) -> list[dict[str, Any]]:
    """Return rows of one month in which the outcome follows level and moon, with some noise."""
    chance = random.Random(month)
    start, end = bounds(month)
    made = []
    for number in range(count):
        level, wind = chance.gauss(shift, 1.0), chance.gauss(0.0, 1.0)
        moon = chance.choice(("new", "full", "half"))
        shut = level + (0.8 if moon == "full" else 0.0) + chance.gauss(0.0, 0.7) > 0.3 + shift
        made.append(
            {
                "row": f"{month}/{number}",
                "at": rfc3339(start + (end - start) * number / count),
                "level": round(level, 3),
                "wind": round(wind, 3),
                "moon": moon,
                "shut": int(shut),
            }
        )
    return made


def csv(table: list[dict[str, Any]]) -> bytes:
    """Return rows as a CSV file."""
    lines = [",".join(table[0]), *(",".join(str(value) for value in row.values()) for row in table)]
    return ("\n".join(lines) + "\n").encode()


MONTHS = {month: csv(rows(month)) for month in ("2013-01", "2013-02")}
DRIFTED = rows("2013-03", count=300, shift=1.5)
MONTHS["2013-03"] = csv(DRIFTED)
DAMAGED = MONTHS["2013-02"].replace(b"level", b"levle", 1)

_OUTPUTS: dict[str, TrainingOutput] = {}
_CHECKS: dict[str, CheckResult] = {}


def cached_train(
    table: pa.Table, charter: Charter, spec: TrainingSpec, champion: ChampionModel | None, on_trial: Any
) -> TrainingOutput:
    """Return what `train` returns. Each input is trained once."""
    key = digest_of(encode(spec) + repr(table.to_pylist()).encode())
    if key not in _OUTPUTS:
        _OUTPUTS[key] = train(table, charter, spec, champion, lambda trial: None)
    for trial in _OUTPUTS[key].trials:
        on_trial(trial)
    return _OUTPUTS[key]


def cached_check(
    model: bytes, interface: ModelInterface, sample: SampleRows, *, memory_mb: int, timeout_s: float
) -> CheckResult:
    """Return what `check_in_subprocess` returns. Each model is checked once."""
    key = digest_of(model)
    if key not in _CHECKS:
        _CHECKS[key] = check_in_subprocess(model, interface, sample, memory_mb=memory_mb, timeout_s=timeout_s)
    return _CHECKS[key]


assert functions.train.train is train  # the world replaces it by `cached_train`
