"""The demo's charter is valid, and its columns are in the demo's data."""

from pathlib import Path

from cli.demo.flights import CATEGORICAL, NUMERIC
from shared.usecase.reading import parse_charter

CHARTER = Path(__file__).parents[2] / "cli" / "demo" / "usecase.yaml"


def test_the_demos_charter_is_valid() -> None:
    charter = parse_charter(CHARTER.read_bytes(), CHARTER.name)
    assert set(charter.features.numeric) == set(NUMERIC)
    assert set(charter.features.categorical) == set(CATEGORICAL)
    assert any(kpi.gates and kpi.monitored for kpi in charter.kpis)
