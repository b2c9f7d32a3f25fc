"""Jobs of one host: processes that outlive their submitter, each with a folder of its own.

A job is durable before it is started. No daemon supervises jobs. After a kill or a restart of the machine, `recover`
starts the jobs again that neither run nor have ended. The runtime calls it at its start and regularly.
"""

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters.local import job_folder
from adapters.local.files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    PROVIDER,
    Deadline,
    create_file,
    failure,
    make_folder,
    sync_folder,
)
from adapters.local.store import path_of
from shared.errors import NotFound, OutcomeUnknown, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, JobSpec, JobStatus
from tidegate import own_process
from tidegate.arguments import check_job

MAX_LAUNCHES = 3
LEFTOVER_S = 3600.0
_ID = re.compile("[0-9a-f]{32}")
_NEW = ".new-"
_START_S = 20.0


class LocalJobs:
    """The jobs in the folders below one root.

    Args:
        root: the folder; created with the first job.
        command: the command of every job. Its last argument is the job's folder, from which it reads function and event
            (`adapters.local.job_folder.read_spec`). The folder's name is the job's id.
        max_launches: the number of starts without a result after which a job has failed.
    """

    def __init__(self, root: str | Path, command: Sequence[str], *, max_launches: int = MAX_LAUNCHES) -> None:
        self._root = Path(root).absolute()
        self._command = tuple(command)
        self._max_launches = max_launches

    def submit(self, spec: JobSpec, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Record the job, start it, and return its id.

        Where it cannot be started now (no processes left), it is pending until `recover` starts it.
        """
        check_job(spec)
        if spec.accelerator:
            raise Unsupported(
                f"no accelerator {spec.accelerator!r} here; leave it out of the charter's training budget",
                provider=PROVIDER,
                operation="submit",
                resource=spec.name,
            )
        deadline = Deadline(timeout_s, "submit", spec.name)
        job_id = secrets.token_hex(16)
        folder, new = self._root / job_id, self._root / (_NEW + job_id)
        held: int | None = None
        try:
            make_folder(self._root)
            new.mkdir(mode=PRIVATE_FOLDER)
            create_file(new / job_folder.SPEC, msgspec.json.encode(spec))
            held = job_folder.lock(new / job_folder.LAUNCH_LOCK)  # keeps `recover` from starting it too
            deadline.check()
            new.rename(folder)
            self._made_durable(spec.name)
            self._launch(folder)
            return job_id
        except OSError as error:
            raise failure(error, "submit", spec.name) from error
        finally:
            if held is not None:
                os.close(held)
            shutil.rmtree(new, ignore_errors=True)

    def status(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> JobStatus:
        """Return the current state: "pending" also where its process died and `recover` will start it again."""
        with self._found("status", job_id, timeout_s) as folder:
            ended = job_folder.read_status(folder)
            if ended is None and job_folder.is_held(folder / job_folder.RUN_LOCK):
                return JobStatus("running")
            ended = ended or job_folder.read_status(folder)  # it may have ended between the two checks
            if ended is not None:
                return ended
            died = job_folder.launches(folder) > 0 and not job_folder.is_held(folder / job_folder.LAUNCH_LOCK)
            return JobStatus("pending", None, "its process died; it will be started again" if died else "")

    def cancel(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Ask the job's runner to stop it: SIGTERM to its whole session, and SIGKILL five seconds later."""
        with self._found("cancel", job_id, timeout_s) as folder:
            if job_folder.read_status(folder) is not None:
                return
            create_file(folder / job_folder.CANCEL, b"")
            with job_folder.locked(folder / job_folder.LAUNCH_LOCK, wait_s=min(timeout_s, _START_S)) as alone:
                if alone and not job_folder.is_held(folder / job_folder.RUN_LOCK):
                    job_folder.finish(folder, JobStatus("cancelled"))

    def logs(self, job_id: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Return the output of all of its starts. Bytes that are not UTF-8 are replaced."""
        with self._found("logs", job_id, timeout_s) as folder:
            try:
                return (folder / job_folder.LOG).read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                return ""

    def recover(self) -> list[str]:
        """Start every job again that neither runs nor has ended. Return the ids of the started jobs.

        Several processes may call it at once: each job is started by one. Raises: Unavailable, PermissionDenied.
        """
        try:
            names = sorted(os.listdir(self._root)) if self._root.is_dir() else []
            self._remove_leftovers(names)
            return [name for name in names if _ID.fullmatch(name) and self._recovered(self._root / name)]
        except OSError as error:
            raise failure(error, "recover", "") from error

    def _recovered(self, folder: Path) -> bool:
        if job_folder.read_status(folder) is not None:
            return False
        with job_folder.locked(folder / job_folder.LAUNCH_LOCK) as alone:
            if not alone or job_folder.is_held(folder / job_folder.RUN_LOCK):
                return False
            if job_folder.read_status(folder) is not None:
                return False
            if job_folder.is_cancelled(folder):
                job_folder.finish(folder, JobStatus("cancelled"))
                return False
            launches = job_folder.launches(folder)
            if launches >= self._max_launches:
                reason = f"its process died {launches} times without a result; its log may say why"
                job_folder.finish(folder, JobStatus("failed", None, reason))
                return False
            self._launch(folder)
            return True

    def _launch(self, folder: Path) -> None:
        """Start a runner and wait until it holds the job's lock. The caller holds the launch lock."""
        job_folder.count_launch(folder)
        log = os.open(folder / job_folder.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            starter = subprocess.Popen(
                [*own_process.command("adapters.local.job_runner"), str(folder), *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:  # the job stays pending, until `recover` can start it
            os.write(log, f"the runner could not be started: {error.strerror}\n".encode())
            return
        finally:
            os.close(log)
        with contextlib.suppress(subprocess.TimeoutExpired):  # on a very slow machine; the lock still decides
            starter.wait(_START_S)

    def _made_durable(self, name: str) -> None:
        try:
            sync_folder(self._root)
        except OSError as error:
            raise OutcomeUnknown(
                "the disk failed after the job was written and may lose it",
                provider=PROVIDER,
                operation="submit",
                resource=name,
            ) from error

    def _remove_leftovers(self, names: Sequence[str]) -> None:
        for name in names:
            if name.startswith(_NEW) and time.time() - (self._root / name).stat().st_mtime > LEFTOVER_S:
                shutil.rmtree(self._root / name, ignore_errors=True)

    @contextlib.contextmanager
    def _found(self, operation: str, job_id: str, timeout_s: float) -> Iterator[Path]:
        Deadline(timeout_s, operation, job_id)
        folder = self._root / job_id
        if not _ID.fullmatch(job_id) or not folder.is_dir():
            raise NotFound("no such job", provider=PROVIDER, operation=operation, resource=job_id[:80])
        try:
            yield folder
        except OSError as error:
            raise failure(error, operation, job_id) from error


def from_url(url: str, command: Sequence[str]) -> LocalJobs:
    """Return the jobs in the folder of `file:///path`. Raises: ConfigurationError: not such a URL."""
    return LocalJobs(path_of(url), command)


if TYPE_CHECKING:
    from shared.ports import Jobs

    _port: type[Jobs] = LocalJobs
