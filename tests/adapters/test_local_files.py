"""Metrics, limits and secrets as files: incomplete lines, days, size limits, forks, permissions."""

import os
from pathlib import Path

import pytest

from adapters.local import job_folder
from adapters.local.jobs import LocalJobs
from adapters.local.limits import LocalLimits
from adapters.local.metrics import LocalMetrics
from adapters.local.secrets import LocalSecrets
from adapters.memory.clock import MemoryClock
from shared.errors import IntegrityError, NotFound, PermissionDenied
from shared.ports import FunctionLimits, JobSpec, JobStatus

DAY_S = 86_400.0
EVER = (0.0, 1e12)


def test_each_day_and_each_full_file_starts_a_new_file(tmp_path: Path) -> None:
    clock = MemoryClock(0.0)
    metrics = LocalMetrics(tmp_path / "metrics", clock, file_bytes=500)
    for _ in range(2):
        for _ in range(10):
            metrics.counter("n", labels={"function": "infer"})
        clock.advance(DAY_S)
    days = [path.name[:10] for path in sorted((tmp_path / "metrics").iterdir())]
    assert set(days) == {"1970-01-01", "1970-01-02"}
    assert len(days) > 2
    assert all(path.stat().st_size < 650 for path in (tmp_path / "metrics").iterdir())
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "metrics").iterdir())
    assert len(metrics.query("n", *EVER)) == 20
    assert len(metrics.query("n", DAY_S, 2 * DAY_S)) == 10
    metrics.close()


def test_the_oldest_files_are_removed_above_the_limit(tmp_path: Path) -> None:
    clock = MemoryClock(0.0)
    metrics = LocalMetrics(tmp_path, clock, file_bytes=1000, kept_bytes=3000)
    for number in range(200):
        metrics.gauge("n", float(number))
        clock.advance(3600.0)
    values = [point.value for point in metrics.query("n", *EVER)]
    assert values == [float(number) for number in range(200 - len(values), 200)]
    assert 10 < len(values) < 100
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 5000
    metrics.close()


def test_incomplete_lines_and_other_files_are_skipped(tmp_path: Path) -> None:
    metrics = LocalMetrics(tmp_path, MemoryClock(0.0))
    metrics.counter("n", 1.0)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"name":"n","kind":"counter","va')
    (tmp_path / "notes.jsonl").write_bytes(b'{"name":"n"}\n')
    (tmp_path / "1970-01-01-x.txt").write_bytes(b"?")
    assert [point.value for point in metrics.query("n", *EVER)] == [1.0]
    metrics.close()


def test_names_are_not_patterns(tmp_path: Path) -> None:
    metrics = LocalMetrics(tmp_path, MemoryClock(0.0))
    metrics.counter("n", labels={"name": "m", 'say"': 'it"'})
    assert metrics.query("m", *EVER) == []
    assert len(metrics.query("n", *EVER, {'say"': 'it"'})) == 1
    metrics.close()


def test_points_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_bytes(b"no folder")
    metrics = LocalMetrics(tmp_path / "metrics", MemoryClock(0.0))
    metrics.counter("n")
    metrics.gauge("n", 1.0)
    assert metrics.lost == 2


def test_a_forked_process_writes_to_a_file_of_its_own(tmp_path: Path) -> None:
    metrics = LocalMetrics(tmp_path, MemoryClock(0.0))
    metrics.counter("n", 1.0)
    child = os.fork()
    if child == 0:
        try:
            metrics.counter("n", 2.0)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    metrics.counter("n", 3.0)
    assert len(list(tmp_path.iterdir())) == 2
    assert sorted(point.value for point in metrics.query("n", *EVER)) == [1.0, 2.0, 3.0]
    metrics.close()


def test_an_unreadable_limits_file_is_an_integrity_error(tmp_path: Path) -> None:
    limits = LocalLimits(tmp_path, {"infer": FunctionLimits(512, 1)})
    (tmp_path / "infer.json").write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="set them again"):
        limits.read("infer")
    limits.set("infer", FunctionLimits(256, 2))
    assert limits.read("infer") == FunctionLimits(256, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["infer.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    secrets = LocalSecrets(tmp_path / "secrets")
    secrets.put("key", b"value")
    assert secrets.get("key") == b"value"
    (tmp_path / "secrets" / "key").chmod(mode)
    with pytest.raises(PermissionDenied, match="chmod 600") as caught:
        secrets.get("key")
    assert "value" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o707])
def test_a_folder_of_secrets_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    secrets = LocalSecrets(tmp_path / "secrets")
    secrets.put("key", b"value")
    (tmp_path / "secrets").chmod(mode)
    with pytest.raises(PermissionDenied, match="chmod 700"):
        secrets.get("key")


def test_put_makes_a_private_file_in_a_private_folder(tmp_path: Path) -> None:
    LocalSecrets(tmp_path / "a" / "secrets").put("key", b"value")
    folder = tmp_path / "a" / "secrets"
    assert (folder.stat().st_mode & 0o777, (folder / "key").stat().st_mode & 0o777) == (0o700, 0o600)


def test_the_permissions_of_a_links_target_count(tmp_path: Path) -> None:
    secrets = LocalSecrets(tmp_path / "secrets")
    secrets.put("key", b"value")
    target = tmp_path / "target"
    target.write_bytes(b"linked")
    (tmp_path / "secrets" / "link").symlink_to(target)
    target.chmod(0o600)
    assert secrets.get("link") == b"linked"
    target.chmod(0o644)
    with pytest.raises(PermissionDenied):
        secrets.get("link")


def test_without_a_folder_secrets_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        LocalSecrets(tmp_path / "absent").get("key")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Return what was made durable, in order: folders, and files by what they are called then, below tmp_path."""
    paths: list[str] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        paths.append(str(path.relative_to(tmp_path)) if path.is_dir() else "a file")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


def test_a_secret_is_durable_with_its_folders(tmp_path: Path, synced: list[str]) -> None:
    LocalSecrets(tmp_path / "a" / "secrets").put("key", b"value")
    assert synced == [".", "a", "a file", "a/secrets"]


def test_how_a_job_ended_is_durable_with_its_folder(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "job").mkdir()
    for _ in range(2):
        job_folder.finish(tmp_path / "job", JobStatus("succeeded", 0))
    assert synced == ["a file", "job", "a file"], "the second one finds it there, and changes nothing"
    job_folder.count_launch(tmp_path / "job")
    assert synced[3:] == ["a file", "job"]


def test_a_submitted_job_is_durable_before_it_is_started(
    tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = LocalJobs(tmp_path / "jobs", ["true"])
    monkeypatch.setattr(jobs, "_launch", lambda folder: synced.append("started"))
    job = jobs.submit(JobSpec("a", "train", b""))
    assert synced == [".", "a file", f"jobs/.new-{job}", "jobs", "started"]
