"""Controls on the demo's data: without a signal the gate refuses, and without a change there is no alert."""

from collections.abc import Iterator
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pytest

from cli.demo.flights import months, to_csv
from shared.data.examine import examine, read_table
from shared.data.profile import Profile, profile_batches
from shared.documents import digest_of
from shared.monitoring.alerts import alerts_for
from shared.monitoring.drift import measure_feature_drift, measure_target_drift
from shared.monitoring.performance import monitored_kpis
from shared.monitoring.records import Alert, ColumnDrift
from shared.monitoring.windows import bounds
from shared.pipeline.records import TrainingSpec
from shared.pipeline.scoring import Scorer
from shared.pipeline.tables import outcomes_of, table_to_feeds, times_of
from shared.pipeline.training import train
from shared.serving.gates import evaluate_gates
from shared.usecase.charter import Charter
from shared.usecase.reading import charter_digest, parse_charter

pytestmark = pytest.mark.slow

SEEDS = range(20)
ROWS = 9000
MONTHS = ("2013-01", "2013-02", "2013-03", "2013-04")


@pytest.fixture(scope="module")
def charter() -> Charter:
    return parse_charter(files("cli.demo").joinpath("usecase.yaml").read_bytes())


@pytest.fixture(scope="module")
def tables(charter: Charter) -> dict[str, pa.Table]:
    """Return the first months as training reads them."""
    return dict(_read(charter))


def _read(charter: Charter) -> Iterator[tuple[str, pa.Table]]:
    contract = None
    for month, table in months(1, 4):
        body = to_csv(table)
        if contract is None:
            found = examine(pa.BufferReader(body), month, digest_of(body), charter, charter_digest(charter), None)
            assert found.accepted
            contract = found.contract
        assert contract is not None
        yield month, read_table(pa.BufferReader(body), month, contract)


def spec_of(charter: Charter, seed: int) -> TrainingSpec:
    return TrainingSpec(
        usecase=charter.usecase,
        datasets=(),
        start=bounds("2013-01")[0],
        test_start=bounds("2013-03")[0],
        end=bounds("2013-03")[1],
        charter_digest="",
        contract=1,
        contract_digest="",
        pipeline=1,
        pipeline_digest="",
        seed=seed,
        trials=2,
        code_digest="",
        libraries_digest="",
    )


def gate(charter: Charter, table: pa.Table, seed: int) -> bool:
    """Train on January and February, test on March, and return whether the gates passed."""
    output = train(table, charter, spec_of(charter, seed), None, lambda trial: None)
    decision = evaluate_gates(
        1, output.metrics, output.baselines, output.evaluation, None, charter, threshold=output.threshold
    )
    return decision.passed


def sampled(tables: dict[str, pa.Table], seed: int) -> pa.Table:
    whole = pa.concat_tables([tables[month] for month in MONTHS[:3]])
    rows = np.sort(np.random.default_rng(seed).choice(whole.num_rows, ROWS, replace=False))
    return whole.take(pa.array(rows))


def test_with_the_target_permuted_the_gate_refuses(charter: Charter, tables: dict[str, pa.Table]) -> None:
    refused = 0
    for seed in SEEDS:
        table = sampled(tables, seed)
        column = table.schema.get_field_index(charter.target.column)
        order = np.random.default_rng(1000 + seed).permutation(table.num_rows)
        permuted = table.set_column(column, charter.target.column, table.column(column).take(pa.array(order)))
        refused += not gate(charter, permuted, seed)
    assert refused >= 19


def test_with_the_real_target_the_gate_passes(charter: Charter, tables: dict[str, pa.Table]) -> None:
    assert gate(charter, sampled(tables, 0), 7)


def in_random_order(tables: dict[str, pa.Table], charter: Charter, seed: int) -> pa.Table:
    """Return the flights of all four months, with their times shuffled."""
    whole = pa.concat_tables(tables.values())
    order = np.random.default_rng(seed).permutation(whole.num_rows)
    column = whole.schema.get_field_index(charter.time_column)
    return whole.set_column(column, charter.time_column, whole.column(column).take(pa.array(order)))


def april_apart(charter: Charter, table: pa.Table) -> tuple[pa.Table, pa.Table]:
    april = times_of(table, charter.time_column) >= bounds("2013-04")[0]
    return table.filter(pa.array(~april)), table.filter(pa.array(april))


def drifts(charter: Charter, reference: Profile, current: pa.Table) -> tuple[tuple[ColumnDrift, ...], ColumnDrift]:
    """Return the drift of each feature and of the outcome, computed as `monitor` does."""
    rules, target, features = charter.monitoring, charter.target, charter.features
    feature_drift = measure_feature_drift(reference, profile_batches(current.to_batches()), features, rules)
    return feature_drift, measure_target_drift(
        reference, target.column, outcomes_of(current, target).tolist(), features, rules
    )


def alerts_of_april(charter: Charter, table: pa.Table, seed: int) -> tuple[Alert, ...]:
    """Train on the months to March, and evaluate April as `monitor` does, KPIs included."""
    output = train(table, charter, spec_of(charter, seed), None, lambda trial: None)
    _, april = april_apart(charter, table)
    feature_drift, target_drift = drifts(charter, output.reference, april)
    scores = Scorer(output.model, output.interface).score(table_to_feeds(april, output.interface))
    kpis = monitored_kpis(outcomes_of(april, charter.target), scores, output.threshold, charter)
    assert [kpi.metric for kpi in kpis if kpi.met is not None] == ["roc_auc", "payoff_per_1000"]
    return alerts_for(charter, 1, "2013-04", feature_drift, target_drift, kpis)


@pytest.mark.parametrize("seed", range(10))
def test_with_months_shuffled_neither_features_nor_outcome_drift(
    seed: int, charter: Charter, tables: dict[str, pa.Table]
) -> None:
    before, april = april_apart(charter, in_random_order(tables, charter, seed))
    feature_drift, target_drift = drifts(charter, profile_batches(before.to_batches()), april)
    assert [drift.name for drift in (*feature_drift, target_drift) if drift.drifted] == []


@pytest.mark.parametrize("seed", range(3))
def test_with_months_shuffled_no_alert_is_raised(seed: int, charter: Charter, tables: dict[str, pa.Table]) -> None:
    """No drift, and no KPI missed.

    On all flights, as in the demo. A KPI is met or missed by its point estimate: a model of a ninth of the flights is
    so close to 0.70 that it misses in one window of ten by chance.
    """
    assert alerts_of_april(charter, in_random_order(tables, charter, seed), seed) == ()


def test_with_months_in_order_april_raises_an_alert(charter: Charter, tables: dict[str, pa.Table]) -> None:
    whole = pa.concat_tables(tables.values())
    before, april = april_apart(charter, whole)
    feature_drift, _ = drifts(charter, profile_batches(before.to_batches()), april)
    assert "hour_departures" in [drift.name for drift in feature_drift if drift.drifted]
    assert "drift" in {alert.kind for alert in alerts_of_april(charter, whole, 7)}
