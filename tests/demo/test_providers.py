"""The demo on each cloud's emulators: the same data and results as on one machine, and no findings by fsck.

The test runs the command as a person does, and expects the result of `tidegate demo` on a local home.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from fcntl import LOCK_EX, flock
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cli.demo.flights import damaged, months
from cli.demo.payloads import month_file
from shared.documents import digest_of
from shared.topology import FUNCTIONS, queue_names

pytestmark = pytest.mark.slow

PROVIDERS = ("aws", "azure", "gcp")
TIMEOUT_S = 1200.0
"""For the whole demo; each step has a shorter deadline of its own, and its error names what is missing."""
COMMAND = (sys.executable, "-m", "cli.main", "demo", "--exit", "--json")
ROOT = Path(__file__).parents[2]
SERVICE_FIGURES = frozenset({"requests", "errors", "latency_p50_ms", "latency_p99_ms", "memory_mb"})


@pytest.fixture(scope="module", params=PROVIDERS)
def demo(
    request: pytest.FixtureRequest, emulators_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return the result of the demo on a provider; one of the test processes runs it for all."""
    base = tmp_path_factory.getbasetemp()
    kept = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / f"demo-{request.param}.json"
    with kept.with_suffix(".lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not kept.exists():
            kept.write_text(json.dumps(ran(request.param, emulators_folder, tmp_path_factory.mktemp(request.param))))
    result: dict[str, Any] = json.loads(kept.read_text())
    return result


def ran(provider: str, emulators_folder: Path, folder: Path) -> dict[str, Any]:
    """Return the result of the demo on a provider, after checking that no process and no file is left."""
    ended = subprocess.run(
        [*COMMAND, "--provider", provider],
        cwd=ROOT,
        env={**os.environ, "TIDEGATE_EMULATORS": str(emulators_folder), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert ended.returncode == 0, ended.stderr[-4000:] + ended.stdout[-2000:]
    assert list(runs_in(folder)) == []
    assert list(folder.iterdir()) == []
    result: dict[str, Any] = json.loads(ended.stdout)
    assert result["provider"] == provider
    return result


def runs_in(folder: Path) -> Iterator[int]:
    """Yield the processes whose environment names the folder."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if os.fsencode(folder) in Path(f"/proc/{pid}/environ").read_bytes():
                yield int(pid)


@cache
def digests() -> list[str]:
    """Return the digests of the files that the demo uploads, in order."""
    tables = dict(months(1, 5))
    bodies = {month: month_file(month, table)[1] for month, table in tables.items()}
    first, *others = bodies.values()
    return [digest_of(body) for body in (first, damaged(tables["2013-03"], "distance_in_km"), *others)]


def test_the_data_are_the_same(demo: dict[str, Any]) -> None:
    assert [receipt["file_digest"] for receipt in demo["receipts"]] == digests()
    states = [(receipt["state"], receipt["dataset"]) for receipt in demo["receipts"]]
    accepted = [("accepted", number) for number in range(1, 6)]
    assert states == [accepted[0], ("quarantined", None), *accepted[1:]]
    assert [(each["window"], each["predictions"], each["labels"]) for each in demo["replays"]] == [
        ("2013-04", 27587, 27587),
        ("2013-05", 28119, 28119),
    ]


def test_the_models_are_the_same(demo: dict[str, Any]) -> None:
    searched = [each for each in demo["trainings"] if each["granted"]]
    assert [(each["cause"], each["trials"], each["algorithm"], each["rows_trained"]) for each in searched] == [
        ("dataset.3", 5, "gradient_boosting", 49855),
        ("alert.drift-m1-2013-04", 5, "logistic_regression", 77809),
        ("alert.drift-m1-2013-05", 5, "gradient_boosting", 105396),
    ]
    # On one machine they are the same to the last byte; another processor may round otherwise.
    areas = [each["metrics"]["roc_auc"]["value"] for each in demo["models"]]
    assert areas == pytest.approx([0.738951, 0.719988, 0.774502], abs=1e-3)


def test_gates_alerts_and_releases_are_the_same(demo: dict[str, Any]) -> None:
    gates = [(each["model"], each["champion"], each["passed"]) for each in demo["gates"]]
    assert gates == [(1, None, True), (2, 1, False), (3, 1, True)]
    assert [each["alert"] for each in demo["alerts"]] == ["drift-m1-2013-04", "drift-m1-2013-05"]
    drifted = {each["name"] for window in demo["windows"] for each in window["feature_drift"] if each["drifted"]}
    assert drifted == {"hour_departures", "humidity_pct", "wind_direction_deg"}
    releases = [(each["action"], each["champion"]) for each in demo["releases"]]
    assert releases == [("release", 1), ("refuse", 1), ("release", 3), ("rollback", 1)]
    assert demo["rollback"] == {"revision": 4, "from_model": 3, "to_model": 1, "answered_by": 1}


def test_fsck_has_no_findings(demo: dict[str, Any]) -> None:
    assert demo["fsck"]["findings"] == []
    assert demo["fsck"]["objects"] > 300
    assert demo["prediction"]["captured"]
    kinds = {step[end].partition(".")[0] for step in demo["lineage"]["up"] for end in ("node", "other")}
    assert kinds >= {"model", "run", "dataset", "upload", "alert"}


def test_the_cloud_counted_the_calls(demo: dict[str, Any]) -> None:
    counted = demo["invocations"]
    assert set(counted) == {function.name for function in FUNCTIONS}
    assert all(counted[name] > 0 for name in queue_names() if name != "reconcile"), (
        counted
    )  # some count schedules longer
    requests = sum(each["requests"] for each in demo["replays"])
    assert counted["infer"] > requests
    assert counted["collect"] > requests
    assert counted["labels"] >= requests
    assert counted["train"] >= 3
    # Every file causes an event of its store; for most of them `uploads` sends a message as well.
    assert counted["validate"] > len(demo["receipts"])
    assert demo["curl"] is None


def test_the_service_figures_are_in_the_window_reports(demo: dict[str, Any]) -> None:
    for window in demo["windows"]:
        figures = window["service"]
        assert set(figures) >= SERVICE_FIGURES
        if demo["provider"] in ("azure", "gcp"):  # OpenTelemetry only sends
            assert {figures[name] for name in SERVICE_FIGURES} == {None}
        else:
            assert figures["errors"] == 0
            assert 0 < figures["latency_p50_ms"] <= figures["latency_p99_ms"]
            assert figures["memory_mb"] > 0
    if demo["provider"] == "aws":
        sent = [each["requests"] for each in demo["replays"]]
        assert [each["service"]["requests"] for each in demo["windows"]] == [sent[0], sum(sent)]
