"""Train a model: from the table of a snapshot to the model with its evidence. Used by the `train` function.

`train` is a pure function: the same table, charter and spec give the same bytes. It writes nothing; the handler stores
what it returns.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shared.data.arrays import from_numpy
from shared.data.profile import Profile, profile_batches
from shared.errors import DataRefused, InsufficientData
from shared.pipeline.algorithms import fit, frame_of, probabilities
from shared.pipeline.export import export, parity
from shared.pipeline.metrics import ALWAYS_ACT, NEVER_ACT, block_bootstrap, evaluate, interval
from shared.pipeline.records import (
    Evaluation,
    MetricValue,
    ModelInterface,
    Parity,
    SampleRows,
    TrainingSpec,
    Trial,
)
from shared.pipeline.scoring import PROBABILITY, Feeds, Scorer, interface_of
from shared.pipeline.search import search
from shared.pipeline.split import DAY_S, Split, check_split, split_by_time, validation_split
from shared.pipeline.tables import column_of, outcomes_of, table_to_feeds, times_of
from shared.usecase.charter import Algorithm, Charter, Metric

METRICS: tuple[Metric, ...] = ("roc_auc", "log_loss", "accuracy", "payoff_per_1000")
SAMPLE_ROWS = 20
"""The most rows in the sample that `register` scores again."""
_SAMPLE_WITH_MISSING = 5


class ChampionModel(msgspec.Struct, frozen=True, kw_only=True):
    """The model that serves, to be evaluated on the same test rows; its threshold is that of its manifest."""

    number: int
    model: bytes
    interface: ModelInterface
    threshold: float


class TrainingOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a training. Metrics are of the test rows, scored by the ONNX model that will serve.

    Args:
        model: the bytes of the ONNX model.
        trials: of the search.
        metrics: all of METRICS. baselines: "never.payoff_per_1000" and "always.payoff_per_1000".
        threshold: of the label, on the probability.
        sample: rows for `register` to score again.
        reference: profile of the features and of the target (as 0 and 1) in the training and test rows.
        champion: the number of the model that was evaluated on the same rows, if any.
    """

    model: bytes
    algorithm: Algorithm
    parameters: dict[str, float | int | str]
    trials: tuple[Trial, ...]
    metrics: dict[str, MetricValue]
    baselines: dict[str, MetricValue]
    threshold: float
    evaluation: Evaluation
    sample: SampleRows
    interface: ModelInterface
    parity: Parity
    reference: Profile
    rows_trained: int
    rows_tested: int
    champion: int | None


def train(
    table: Any,
    charter: Charter,
    spec: TrainingSpec,
    champion: ChampionModel | None,
    on_trial: Callable[[Trial], None],
    *,
    threads: int = 1,
) -> TrainingOutput:
    """Return the best model of the charter's search on the snapshot, with its evidence.

    The threshold is chosen on the validation rows with the best trial, which was not fitted on them. Chosen on rows
    that the model was fitted on, it would be too optimistic; chosen on the test rows, it would bias their payoff. The
    best trial's algorithm and parameters are then fitted on all training rows.
    Args:
        table: a pyarrow.Table as of `shared.data.examine.read_table`.
        champion: the model to compare with; None if none serves.
        on_trial: receives each trial when it is finished.
        threads: for one fit. More than one helps only if no other process needs the cores: otherwise OpenMP's busy
            waiting makes two threads ten times slower than one.
    Raises: DataRefused: a column is missing or of another kind than the charter says. InsufficientData: too few
        rows, days or rows of one outcome. IntegrityError: the exported model differs from the trained one.
    """
    times = times_of(table, charter.time_column)
    inside = (times >= spec.start) & (times < spec.end)
    if not inside.all():
        table, times = table.filter(pa.array(inside)), times[inside]
    outcomes = outcomes_of(table, charter.target)
    split = split_by_time(times, spec)
    check_split(split, outcomes)
    interface = interface_of(charter.features)
    feeds = table_to_feeds(table, interface)
    frame = frame_of(feeds, interface)
    trained, tested = frame[split.train], frame[split.test]

    found = search(
        trained,
        outcomes[split.train],
        validation_split(times[split.train], outcomes[split.train]),
        charter,
        trials=spec.trials,
        seed=spec.seed,
        threads=threads,
        on_trial=on_trial,
    )
    pipeline = fit(
        found.algorithm,
        found.parameters,
        trained,
        outcomes[split.train],
        seed=spec.seed,
        threads=threads,
    )
    model = export(pipeline, interface, found.threshold)
    test_feeds = _rows(feeds, split.test)
    outputs = Scorer(model, interface, threads=threads).run(test_feeds)
    agreement = parity(probabilities(pipeline, tested, threads=threads), outputs, found.threshold)

    predicted = outputs[PROBABILITY]
    blocks = _blocks(times[split.test], charter)
    on_test_rows = _Evaluator(charter, outcomes[split.test], blocks, spec.seed)
    return TrainingOutput(
        model=model,
        algorithm=found.algorithm,
        parameters=found.parameters,
        trials=found.trials,
        metrics={metric: on_test_rows(metric, predicted, found.threshold) for metric in METRICS},
        baselines={
            f"{name}.payoff_per_1000": on_test_rows("payoff_per_1000", predicted, threshold)
            for name, threshold in (("never", NEVER_ACT), ("always", ALWAYS_ACT))
        },
        threshold=found.threshold,
        evaluation=Evaluation(
            outcomes=tuple(outcomes[split.test].tolist()),
            blocks=tuple(blocks.tolist()),
            probabilities=tuple(predicted.tolist()),
            champion=champion.number if champion else None,
            champion_probabilities=_champion_probabilities(champion, table, split, threads),
        ),
        sample=_sample(test_feeds, predicted),
        interface=interface,
        parity=agreement,
        reference=_reference(table, charter, outcomes),
        rows_trained=int(split.train.sum()),
        rows_tested=int(split.test.sum()),
        champion=champion.number if champion else None,
    )


class _Evaluator:
    """Computes metrics on the test rows, each with its confidence interval; all use the same resamples."""

    def __init__(
        self, charter: Charter, outcomes: npt.NDArray[np.int8], blocks: npt.NDArray[np.int64], seed: int
    ) -> None:
        self.charter, self.outcomes, self.blocks, self.seed = charter, outcomes, blocks, seed

    def __call__(self, metric: Metric, predicted: npt.NDArray[Any], threshold: float) -> MetricValue:
        release, payoff = self.charter.release, self.charter.payoff
        (resampled,) = block_bootstrap(
            metric,
            self.outcomes,
            [predicted],
            self.blocks,
            thresholds=[threshold],
            payoff=payoff,
            resamples=release.resamples,
            seed=self.seed,
        )
        low, high = interval(resampled, release.confidence)
        return MetricValue(evaluate(metric, self.outcomes, predicted, threshold, payoff), low, high)


def _blocks(times: npt.NDArray[np.float64], charter: Charter) -> npt.NDArray[np.int64]:
    """Return each test row's resampling block: its UTC day, counted from the epoch, or the row's position."""
    if charter.release.resample_by == "row":
        return np.arange(len(times), dtype=np.int64)
    days = np.floor(times / DAY_S).astype(np.int64)
    if (days == days[0]).all():
        raise InsufficientData(
            "all test rows are of one day and release.resample_by is day, so there is only one block. Test on a "
            "longer window (monitoring.window: month), or set release.resample_by: row"
        )
    return days


def _champion_probabilities(
    champion: ChampionModel | None, table: Any, split: Split, threads: int
) -> tuple[float, ...]:
    if champion is None:
        return ()
    absent = [tensor.name for tensor in champion.interface.inputs if tensor.name not in table.column_names]
    if absent:
        raise DataRefused(
            f"model {champion.number} serves and is compared on the same rows, but the data lacks these of its inputs: "
            f"{', '.join(absent)}; keep these columns until a model without them serves",
            field=absent[0],
        )
    tested = table.filter(pa.array(split.test))
    scorer = Scorer(champion.model, champion.interface, threads=threads)
    return tuple(scorer.score(table_to_feeds(tested, champion.interface)).tolist())


def _sample(feeds: Feeds, predicted: npt.NDArray[np.float32]) -> SampleRows:
    """Return a sample spread evenly over the test rows, and a few rows with missing numbers if there are any."""
    absent = np.zeros(len(predicted), dtype=bool)
    for array in feeds.values():
        if array.dtype.kind == "f":
            absent |= np.isnan(array[:, 0])
    spread = np.unique(np.linspace(0, len(predicted) - 1, SAMPLE_ROWS - _SAMPLE_WITH_MISSING).astype(int)).tolist()
    rows = sorted({*spread, *np.flatnonzero(absent)[:_SAMPLE_WITH_MISSING].tolist()})
    return SampleRows(
        rows=tuple({name: _value(array[row, 0]) for name, array in feeds.items()} for row in rows),
        probabilities=tuple(float(predicted[row]) for row in rows),
    )


def _value(cell: Any) -> float | str | None:
    if isinstance(cell, str):
        return cell
    return None if np.isnan(cell) else float(cell)


def _reference(table: Any, charter: Charter, outcomes: npt.NDArray[np.int8]) -> Profile:
    """Return the profile of the features and of the target (as 0 and 1), over all rows of the snapshot."""
    names = [*charter.features.numeric, *charter.features.categorical]
    target = from_numpy(outcomes.astype(np.float64), np.ones(len(outcomes), dtype=bool), pa.float64())
    columns = {name: column_of(table, name, f"feature {name!r}") for name in names} | {charter.target.column: target}
    return profile_batches(pa.table(columns).to_batches())


def _rows(feeds: Mapping[str, npt.NDArray[Any]], mask: npt.NDArray[np.bool_]) -> Feeds:
    return {name: array[mask] for name, array in feeds.items()}
