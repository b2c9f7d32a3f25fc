"""Consistency rules between the fields of a charter, beyond their types. Each message has a remedy."""

from collections.abc import Iterator, Sequence

from shared.usecase.charter import Charter

Path = tuple[str | int, ...]
"""Where in the charter: ("kpis", 0, "at_least")."""
Inconsistency = tuple[Path, str]
"""Where, and what is wrong with a remedy."""

_BOUNDS: dict[str, tuple[float, float]] = {
    "roc_auc": (0.0, 1.0),
    "accuracy": (0.0, 1.0),
    "log_loss": (0.0, float("inf")),
}


def inconsistencies(charter: Charter) -> Iterator[Inconsistency]:
    """Yield each inconsistency of a charter; none if it is consistent."""
    yield from _kpis(charter)
    yield from _sign_off(charter)
    yield from _columns(charter)
    yield from _training(charter)


def _kpis(charter: Charter) -> Iterator[Inconsistency]:
    seen: set[tuple[str, str]] = set()
    for place, kpi in enumerate(charter.kpis):
        given = {"at_least": kpi.at_least, "at_most": kpi.at_most}
        bounds = {side: bound for side, bound in given.items() if bound is not None}
        if len(bounds) != 1:
            number = "both" if bounds else "neither"
            yield ("kpis", place), f"needs exactly one of at_least and at_most, and has {number}"
            continue
        ((side, bound),) = bounds.items()
        low, high = _BOUNDS.get(kpi.metric, (float("-inf"), float("inf")))
        if not low <= bound <= high:
            limits = f"from {low:g} to {high:g}" if high < float("inf") else f"of at least {low:g}"
            yield ("kpis", place, side), f"expected a {kpi.metric} {limits}, got {bound:g}"
        if (kpi.metric, side) in seen:
            yield ("kpis", place), f"{kpi.metric} {side} has a bound in an earlier KPI: keep one of them"
        seen.add((kpi.metric, side))
    if not any(kpi.gates for kpi in charter.kpis):
        yield (
            ("kpis",),
            "no KPI is a gate, so any model would be released: set gates: true on at least one (it is the default)",
        )


def _sign_off(charter: Charter) -> Iterator[Inconsistency]:
    if not charter.sign_off:
        yield ("sign_off",), "names no role, so nobody is responsible for the charter: name at least one of owners"
    yield from _repeated("sign_off", charter.sign_off)
    for place, role in enumerate(charter.sign_off):
        if role not in charter.owners:
            known = ", ".join(charter.owners) or "nobody"
            yield ("sign_off", place), f"{role!r} is not among the owners ({known}): add who holds it to owners"


def _columns(charter: Charter) -> Iterator[Inconsistency]:
    features = charter.features
    if not features.numeric and not features.categorical:
        yield ("features",), "names no column: list the model's inputs under numeric and categorical"
    yield from _repeated("features.numeric", features.numeric)
    yield from _repeated("features.categorical", features.categorical)
    if not charter.id_columns:
        yield ("id_columns",), "names no column: labels are joined to predictions by the columns that identify a row"
    yield from _repeated("id_columns", charter.id_columns)
    target, time = charter.target.column, charter.time_column
    if time == target:
        yield (
            ("time_column",),
            f"{time!r} is the target; name the column with the time at which the prediction is requested",
        )
    for place, column in enumerate(charter.id_columns):
        if column == target:
            yield ("id_columns", place), f"{column!r} is the target, which does not identify a row: remove it"
    for kind, columns in (("numeric", features.numeric), ("categorical", features.categorical)):
        for place, column in enumerate(columns):
            where = ("features", kind, place)
            if column == target:
                yield where, f"{column!r} is the target, which the model must predict: remove it"
            elif column == time:
                yield (
                    where,
                    f"{column!r} is the time column, whose values do not repeat: derive a feature from it instead",
                )
            elif column in charter.id_columns:
                yield where, f"{column!r} is an id column, so a model would memorise rows: remove it"
            elif kind == "categorical" and column in features.numeric:
                yield where, f"{column!r} is a numeric feature, too: keep one"


def _training(charter: Charter) -> Iterator[Inconsistency]:
    training = charter.training
    if not training.algorithms:
        yield ("training", "algorithms"), "names no algorithm: name at least one, or leave the key out"
    yield from _repeated("training.algorithms", training.algorithms)
    if training.windows == 1:
        yield ("training", "windows"), "the newest window tests, so at least 2 are needed to train as well (0: all)"


def _repeated(path: str, names: Sequence[str]) -> Iterator[Inconsistency]:
    for place, name in enumerate(names):
        if name in names[:place]:
            yield (*path.split("."), place), f"{name!r} is repeated: keep one"
