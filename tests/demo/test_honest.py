"""Nothing is staged: without a signal the gate refuses, without drift there is no alarm, on the demo's own data."""

from collections.abc import Iterator
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pytest

from cli.demo.flights import months, to_csv
from shared.data.examine import examine, read_table
from shared.data.profile import profile_batches
from shared.documents import digest_of
from shared.monitoring.drift import covariate_drift
from shared.monitoring.windows import bounds
from shared.pipeline.records import TrainingSpec
from shared.pipeline.training import train
from shared.serving.gates import decide
from shared.usecase.charter import Charter
from shared.usecase.reading import charter_digest, parse_charter

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
        unit_digest="",
        lock_digest="",
    )


def gate(charter: Charter, table: pa.Table, seed: int) -> bool:
    """Train on January and February, test on March, and ask the gates."""
    output = train(table, charter, spec_of(charter, seed), None, lambda trial: None)
    decision = decide(1, output.metrics, output.baselines, output.evaluation, None, charter, threshold=output.threshold)
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


def test_with_the_target_as_it_was_the_gate_lets_the_model_through(
    charter: Charter, tables: dict[str, pa.Table]
) -> None:
    assert gate(charter, sampled(tables, 0), 7)


@pytest.mark.parametrize("seed", range(10))
def test_with_months_shuffled_no_drift_alarm_is_raised(
    seed: int, charter: Charter, tables: dict[str, pa.Table]
) -> None:
    whole = pa.concat_tables(list(tables.values()))
    order = np.random.default_rng(seed).permutation(whole.num_rows)
    current_rows = tables["2013-04"].num_rows
    current = whole.take(pa.array(order[:current_rows]))
    reference = whole.take(pa.array(order[current_rows:]))
    drifts = covariate_drift(
        profile_batches(reference.to_batches()),
        profile_batches(current.to_batches()),
        charter.features,
        charter.monitoring,
    )
    assert [drift.name for drift in drifts if drift.drifted] == []


def test_with_months_in_their_order_april_drifts(charter: Charter, tables: dict[str, pa.Table]) -> None:
    reference = pa.concat_tables([tables[month] for month in MONTHS[:3]])
    drifts = covariate_drift(
        profile_batches(reference.to_batches()),
        profile_batches(tables["2013-04"].to_batches()),
        charter.features,
        charter.monitoring,
    )
    assert "hour_departures" in [drift.name for drift in drifts if drift.drifted]
