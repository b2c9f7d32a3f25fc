"""The local worker: it takes messages from the queues, lets their functions handle them, and acknowledges after.

A message is borrowed for a short time and borrowed on while its handler runs, so that one whose worker was killed is
handled again soon. A handler that outlives its function's time limit ends the whole process: threads cannot be
stopped, and what else was in hand comes back by itself.

`python -m functions.runtimes.local.worker --home H`; `tidegate serve` starts it and keeps it alive.
"""

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from functions.runtimes.dispatch import deliver, opened
from functions.runtimes.local.home import Home, open_home
from functions.runtimes.local.log_file import FileLog
from functions.runtimes.local.platform import Local, compose_all
from functions.runtimes.local.poller import Poller, needed
from functions.runtimes.local.process import Running, announce, on_stop, only_one, tell_failure, when_orphaned, withdraw
from functions.runtimes.local.schedule import tick
from functions.runtimes.log import Log, described
from functions.runtimes.placement import placed_here
from functions.runtimes.telemetry import MEMORY, memory_mb
from shared.errors import TidegateError, TransientError
from shared.events import ScheduleTicked
from shared.platform import Platform
from shared.ports import Message, QueueConsumer
from shared.topology import FUNCTIONS, Function

WAIT_S = 0.5
"""How long a thread waits for a message before it looks whether it should stop."""
FIRST_RETRY_S = 1.0
RETRY_GROWTH = 4.0
LONGEST_RETRY_S = 300.0
RECOVER_EVERY_S = 5.0
POLL_S = 0.1
MEASURE_EVERY_S = 10.0
WATERMARK = "watermark.json"
OVERDUE_CODE = 70
"""Exit code of a worker whose handler outlived its time limit (EX_SOFTWARE)."""


def retry_after_s(error: BaseException, receive_count: int, spread: float) -> float:
    """Return how long a message rests after a failed delivery.

    Where trying again helps, longer each time: 1, 4, 16, 64 s, at least what the provider advised; else a moment, so
    that it soon lies among the dead letters, where a person sees it. Spread evenly over the upper half, so that
    messages that failed together do not come back together.

    Args: receive_count: from 1. spread: random, in [0, 1).

    >>> retry_after_s(TransientError("busy"), 3, 0.5)
    12.0
    """
    pause = FIRST_RETRY_S
    if isinstance(error, TransientError):
        pause = min(LONGEST_RETRY_S, FIRST_RETRY_S * RETRY_GROWTH ** (receive_count - 1))
        return max(pause * (0.5 + spread / 2), error.retry_after_s or 0.0)
    return pause * (0.5 + spread / 2)


@dataclass
class Lease:
    """A message in hand since `began` (monotonic s); while it is `open` it is borrowed on, with `guard` held."""

    function: Function
    message: Message
    consumer: QueueConsumer
    began: float
    guard: threading.Lock = field(default_factory=threading.Lock)
    open: bool = True
    lost: bool = False
    receipt_handle: str = ""

    def __post_init__(self) -> None:
        self.receipt_handle = self.message.receipt_handle


class Worker:
    """The threads of one process: one for each message that a function may handle at a time, and three that watch.

    Args: overdue: called for a handler past its time limit; it does not return in production. poll: looks for new
        objects where their store cannot tell of them.
    """

    def __init__(
        self,
        local: Local,
        log: Log,
        *,
        overdue: Callable[[], None],
        spread: Callable[[], float] = random.random,
        functions: Sequence[Function] = FUNCTIONS,
        poll: Callable[[], object] | None = None,
    ) -> None:
        self._platform: Platform = local.platform
        self._local = local
        self._log = log
        self._overdue = overdue
        self._spread = spread
        self._functions = [function for function in functions if function.subscribes]
        self._poll = poll
        self._lease_s = local.platform.settings.lease_s
        self._leases: dict[int, Lease] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to work."""
        for function in self._functions:
            for number in range(function.concurrency):
                self._spawn(f"{function.name}-{number}", self._work, function)
        self._spawn("leases", self._keep_leases)
        self._spawn("jobs", self._every, RECOVER_EVERY_S, self._recover)
        self._spawn("measure", self._every, MEASURE_EVERY_S, self._measure)
        if self._poll is not None:
            self._spawn("landing", self._every, self._platform.settings.poll_every_s, self._poll)
        for function in self._functions:
            period_s = float(getattr(self._platform.settings, function.schedule)) if function.schedule else 0.0
            if period_s > 0:
                self._spawn(f"schedule-{function.name}", self._every, period_s, self._ticker(function))

    def stop(self) -> None:
        """Take no more messages; what is in hand goes on."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until everything in hand is finished; False where that takes longer than `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _spawn(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self, function: Function) -> None:
        consumer = self._local.consumers[function.name]
        failures = 0
        while not self._stop.is_set():
            try:
                received = consumer.receive(1, self._lease_s, wait_s=WAIT_S)
                failures = 0
            except Exception as error:
                failures += 1
                self._log("cannot receive", function=function.name, **described(error))
                self._stop.wait(retry_after_s(TransientError(""), min(failures, 4), self._spread()))
                continue
            for message in received:
                self._handle(Lease(function, message, consumer, time.monotonic()))

    def _handle(self, lease: Lease) -> None:
        message, name = lease.message, lease.function.name
        fields: dict[str, object] = {"function": name, "received": message.receive_count}
        error: Exception | None = None
        self._leases[id(lease)] = lease  # one step, for all threads to see
        try:
            event = opened(name, message.body, self._platform)
            fields |= {"event": event.id, "type": event.type, "usecase": event.usecase}
            deliver(name, event, self._platform)
        except Exception as failure:
            error = failure
        finally:
            with lease.guard:
                lease.open = False
            del self._leases[id(lease)]
        fields["duration_ms"] = round((time.monotonic() - lease.began) * 1000, 1)
        try:
            if error is None:
                if not lease.consumer.ack(lease.receipt_handle):
                    fields["note"] = "the lease had lapsed; it is delivered again"
                if fields["type"] != ScheduleTicked.TYPE:  # those would fill the log with nothing
                    self._log("handled", **fields)
            else:
                pause_s = retry_after_s(error, message.receive_count, self._spread())
                lease.consumer.change_visibility(lease.receipt_handle, pause_s)
                self._log("failed", **fields, **described(error), retry_in_s=round(pause_s, 2))
        except Exception as failure:  # the lease lapses, and the message comes back
            self._log("cannot settle", **fields, **described(failure))

    def _keep_leases(self) -> None:
        """Borrow on what is in hand, three times a lease, until nothing is and the worker stops."""
        due = time.monotonic()
        while self._leases or not self._stop.is_set():
            if time.monotonic() >= due:
                due = time.monotonic() + self._lease_s / 3
                for lease in list(self._leases.values()):
                    self._extend(lease)
            time.sleep(min(POLL_S, self._lease_s / 6))

    def _extend(self, lease: Lease) -> None:
        name, limit_s = lease.function.name, lease.function.timeout_s
        if time.monotonic() - lease.began > limit_s:
            self._log("overdue", function=name, timeout_s=limit_s)
            self._overdue()
            return
        with lease.guard:
            if not lease.open or lease.lost:
                return
            try:
                receipt_handle = lease.consumer.change_visibility(lease.receipt_handle, self._lease_s)
                lease.lost = receipt_handle is None
                lease.receipt_handle = receipt_handle or lease.receipt_handle
            except Exception as error:
                self._log("cannot extend", function=name, **described(error))
        if lease.lost:
            self._log("lease lost", function=name)

    def _recover(self) -> None:
        self._local.recover_jobs()

    def _measure(self) -> None:
        self._platform.metrics.gauge(MEMORY, memory_mb(), {"process": "worker"})

    def _ticker(self, function: Function) -> Callable[[], None]:
        consumer, queue = self._local.consumers[function.name], self._platform.queues[function.name]

        def send() -> None:
            tick(function.name, queue, consumer, self._platform.clock.now())

        return send

    def _every(self, period_s: float, act: Callable[[], None]) -> None:
        while True:
            try:
                act()
            except Exception as error:
                self._log("cannot", act=threading.current_thread().name, **described(error))
            if self._stop.wait(period_s):
                return


def serve(home: Home, log: Log) -> bool:
    """Work until SIGTERM or SIGINT; from the main thread. Returns whether everything in hand could be finished."""
    local = compose_all(home, f"worker-{os.getpid()}", trains=True)
    here = placed_here(home.settings)
    poller = Poller(
        local.platform.landing, home.settings.stores.landing, local.platform.queues["validate"], home.path / WATERMARK
    )
    worker = Worker(
        local,
        log,
        overdue=lambda: os._exit(OVERDUE_CODE),
        functions=here,
        poll=poller.poll if needed(home.settings) else None,
    )
    asked = threading.Event()
    on_stop(asked.set)
    worker.start()
    announce(home, "worker", Running(os.getpid(), local.platform.clock.now()))
    log("working", functions=[function.name for function in here if function.subscribes])
    while not asked.wait(60.0):
        pass
    worker.stop()
    finished = worker.join(home.settings.stop_s)
    withdraw(home, "worker")
    log("stopped", finished=finished)
    return finished


def main(arguments: Sequence[str]) -> int:
    """Work for a home; returns an exit code of shared.errors."""
    parser = argparse.ArgumentParser(prog="worker", description="Handle one home's messages and schedules.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--parent", type=int, help="process id: stop when it is no longer the parent")
    given = parser.parse_args(arguments)
    try:
        home = open_home(given.home)
    except TidegateError as error:
        sys.stderr.write(error.message + "\n")
        return error.exit_code
    log = FileLog(home.logs / "worker.log", "worker", time.time)
    try:
        with only_one(home, "worker", wait_s=home.settings.stop_s + 2.0):
            if given.parent is not None:
                when_orphaned(given.parent, lambda: os.kill(os.getpid(), 15))
            serve(home, log)
    except TidegateError as error:
        tell_failure(home, "worker", error)
        log("cannot work", **described(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # What could not be finished in time is delivered again; its threads must not keep the process.
    sys.stderr.flush()
    os._exit(code)
