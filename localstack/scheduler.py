"""Cloud Scheduler, which has no emulator: a job calls a URL on request or periodically.

    with scheduling([Job("reconcile", monitor.url, every_s=60)]) as scheduler:
        scheduler.fire("reconcile")

The AWS emulator fires AWS's schedules, and our Functions host fires Azure's timers (FunctionApp.fire).
Source: cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs, HttpTarget.
"""

import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

TIMEOUT_S = 180.0
"""The service's default for HTTP targets."""


@dataclass(frozen=True)
class Job:
    """A job: it POSTs to `url`. `every_s` 0: only on request."""

    name: str
    url: str
    every_s: float = 0.0
    body: bytes = b""


class Scheduler:
    """Jobs by name. `counts`: (job, "succeeded" or "failed") -> count."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.counts: Counter[tuple[str, str]] = Counter()

    def fire(self, name: str, at: float | None = None) -> bool:
        """Call a job's URL now and wait; return whether it answered 2xx.

        Args: at: when it was due, epoch s, by default now. A repeat has the same time.
        """
        job = self._jobs[name]
        due = datetime.fromtimestamp(time.time() if at is None else at, UTC)
        request = urllib.request.Request(
            job.url,
            data=job.body,
            headers={
                "X-CloudScheduler": "true",
                "X-CloudScheduler-JobName": name,
                "X-CloudScheduler-ScheduleTime": due.isoformat().replace("+00:00", "Z"),
                "User-Agent": "Google-Cloud-Scheduler",
                "Content-Type": "application/octet-stream",
            },
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S):
                good = True
        except urllib.error.HTTPError as error:
            error.close()
            good = False
        except OSError:
            good = False
        with self._lock:
            self.counts[name, "succeeded" if good else "failed"] += 1
        return good

    def repeat(self, name: str) -> None:
        """Fire a job at each multiple of its period until stopped; a missed firing is not repeated."""
        every_s = self._jobs[name].every_s
        while True:
            due = (time.time() // every_s + 1) * every_s
            if self.stopping.wait(max(0.0, due - time.time())):
                return
            self.fire(name, due)


@contextmanager
def scheduling(jobs: Sequence[Job]) -> Iterator[Scheduler]:
    """Run a scheduler in this process until the block ends."""
    scheduler = Scheduler(jobs)
    threads = [
        threading.Thread(target=scheduler.repeat, args=[job.name], name=f"schedule {job.name}", daemon=True)
        for job in jobs
        if job.every_s > 0
    ]
    for thread in threads:
        thread.start()
    try:
        yield scheduler
    finally:
        scheduler.stopping.set()
        for thread in threads:
            thread.join(TIMEOUT_S)
