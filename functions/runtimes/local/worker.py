"""The local worker: receives messages from the queues, lets their functions handle them, and then acknowledges them.

A message's lease is short and is renewed while its handler runs (leases.py), so that the message of a worker that was
killed is soon handled again. A handler that runs past its function's time limit ends the whole process, because a
thread cannot be stopped. The queues deliver the process's other messages again.

Threads share three things, each with its own lock: the leases, the stop signal, and the platform's ports.

`python -m functions.runtimes.local.worker --home H`; `tidegate serve` starts it and keeps it running.
"""

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from functions.runtimes.dispatch import deliver, event_of_message
from functions.runtimes.local.home import Home, open_home
from functions.runtimes.local.leases import Lease, Leases, renew_while
from functions.runtimes.local.log_file import FileLog
from functions.runtimes.local.platform import Local, compose_all
from functions.runtimes.local.poller import Poller, needed
from functions.runtimes.local.process import Running, announce, only_one, stop_signal, withdraw, write_failure
from functions.runtimes.local.schedule import tick
from functions.runtimes.local.threads import Threads
from functions.runtimes.log import Log, described
from functions.runtimes.placement import placed_here
from functions.runtimes.telemetry import MEMORY, memory_mb
from shared.errors import TidegateError, TransientError
from shared.events import ScheduleFired
from shared.platform import Platform
from shared.ports import QueueConsumer
from shared.topology import FUNCTIONS, Function

WAIT_S = 0.5
"""How long a thread waits for a message before it checks whether the worker stops."""
FIRST_RETRY_S = 1.0
RETRY_GROWTH = 4.0
LONGEST_RETRY_S = 300.0
RECOVER_EVERY_S = 5.0
MEASURE_EVERY_S = 10.0
WATERMARK = "watermark.json"
OVERDUE_CODE = 70
"""Exit code of a worker with a handler past its time limit (EX_SOFTWARE)."""


def retry_after_s(error: BaseException, receive_count: int, spread: float) -> float:
    """Return the pause before a message that failed is delivered again.

    After a transient error it grows with each delivery (1, 4, 16, 64 s) and is at least what the provider asked for.
    After any other error it is short, so that the message soon becomes a dead letter, which a person sees. Jitter
    takes between half of the pause and all of it, so that messages that failed together are not delivered together.

    Args: receive_count: from 1. spread: random, in [0, 1).

    >>> retry_after_s(TransientError("busy"), 3, 0.5)
    12.0
    """
    pause = FIRST_RETRY_S
    if isinstance(error, TransientError):
        pause = min(LONGEST_RETRY_S, FIRST_RETRY_S * RETRY_GROWTH ** (receive_count - 1))
        return max(pause * (0.5 + spread / 2), error.retry_after_s or 0.0)
    return pause * (0.5 + spread / 2)


@dataclass(frozen=True)
class Receiver:
    """Receives the messages of one function and lets the function handle them, one at a time.

    Nothing in it changes, so several threads may `run` one receiver. Args: spread: returns a random number in [0, 1).
    """

    function: Function
    consumer: QueueConsumer
    platform: Platform
    leases: Leases
    stop: threading.Event
    log: Log
    spread: Callable[[], float]

    def run(self) -> None:
        """Receive and handle messages until `stop` is set."""
        failures = 0
        while not self.stop.is_set():
            try:
                received = self.consumer.receive(1, self.platform.settings.lease_s, wait_s=WAIT_S)
                failures = 0
            except Exception as error:
                failures += 1
                self.log("cannot receive", function=self.function.name, **described(error))
                self.stop.wait(retry_after_s(TransientError(""), min(failures, 4), self.spread()))
                continue
            for message in received:
                self._handle(Lease(self.function, message, self.consumer, time.monotonic()))

    def _handle(self, lease: Lease) -> None:
        name, error = self.function.name, None
        fields: dict[str, object] = {"function": name, "received": lease.message.receive_count}
        with self.leases.holding(lease):
            try:
                event = event_of_message(name, lease.message.body, self.platform)
                fields |= {"event": event.id, "type": event.type, "usecase": event.usecase}
                deliver(name, event, self.platform)
            except Exception as failure:
                error = failure
        fields["duration_ms"] = round((time.monotonic() - lease.began) * 1000, 1)
        try:
            if error is None:
                self._acknowledge(lease, fields)
            else:
                self._retry(lease, fields, error)
        except Exception as failure:  # the lease expires, and the message is delivered again
            self.log("cannot acknowledge or give back", **fields, **described(failure))

    def _acknowledge(self, lease: Lease, fields: dict[str, object]) -> None:
        note = {} if lease.ack() else {"note": "the lease had expired; the message is delivered again"}
        if fields["type"] != ScheduleFired.TYPE:  # ticks come every few seconds and would fill the log
            self.log("handled", **fields, **note)

    def _retry(self, lease: Lease, fields: dict[str, object], error: Exception) -> None:
        pause_s = retry_after_s(error, lease.message.receive_count, self.spread())
        lease.retry_in(pause_s)
        self.log("failed", **fields, **described(error), retry_in_s=round(pause_s, 2))


class Worker:
    """The threads of one process: one for each message that a function may handle at a time, and a few periodic ones.

    Args: overdue: called for a handler past its time limit; in production it ends the process. poll: looks for new
        objects of a landing store that sends no object events.
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
        self._local = local
        self._log = log
        self._overdue = overdue
        self._spread = spread
        self._functions = [function for function in functions if function.subscribes]
        self._poll = poll
        self._leases = Leases()
        self._threads = Threads(log)

    def start(self) -> None:
        """Start all threads."""
        threads, settings = self._threads, self._local.platform.settings
        receivers = [
            threads.start(f"{function.name}-{number}", self._receiver(function).run)
            for function in self._functions
            for number in range(function.concurrency)
        ]
        threads.start("leases", partial(self._renew_leases, receivers))
        threads.repeat("jobs", RECOVER_EVERY_S, self._local.recover_jobs)
        threads.repeat("measure", MEASURE_EVERY_S, self._measure)
        if self._poll is not None:
            threads.repeat("landing", settings.poll_every_s, self._poll)
        for function in self._functions:
            period_s = float(getattr(settings, function.schedule)) if function.schedule else 0.0
            if period_s > 0:
                threads.repeat(f"schedule-{function.name}", period_s, partial(self._tick, function))

    def stop(self) -> None:
        """Receive no more messages. Handlers that are running go on."""
        self._threads.stop.set()

    def join(self, timeout_s: float) -> bool:
        """Wait until all handlers have ended. Returns False if that takes longer than `timeout_s`."""
        return self._threads.join(timeout_s)

    def _receiver(self, function: Function) -> Receiver:
        local = self._local
        consumer = local.consumers[function.name]
        return Receiver(function, consumer, local.platform, self._leases, self._threads.stop, self._log, self._spread)

    def _renew_leases(self, receivers: Sequence[threading.Thread]) -> None:
        def receiving() -> bool:
            return any(receiver.is_alive() for receiver in receivers)

        lease_s = self._local.platform.settings.lease_s
        renew_while(receiving, self._leases, lease_s, overdue=self._overdue, log=self._log)

    def _measure(self) -> None:
        self._local.platform.metrics.gauge(MEMORY, memory_mb(), {"process": "worker"})

    def _tick(self, function: Function) -> None:
        platform, name = self._local.platform, function.name
        tick(name, platform.queues[name], self._local.consumers[name], platform.clock.now())


def serve(home: Home, log: Log, parent: int | None = None) -> bool:
    """Work until SIGTERM or SIGINT, or until `parent` is gone. Call it from the main thread.

    Returns: whether all handlers ended within `stop_timeout_s`.
    """
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
    stop = stop_signal(parent)
    worker.start()
    announce(home, "worker", Running(os.getpid(), local.platform.clock.now()))
    log("working", functions=[function.name for function in here if function.subscribes])
    stop.wait()
    worker.stop()
    finished = worker.join(home.settings.stop_timeout_s)
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
        with only_one(home, "worker", wait_s=home.settings.stop_timeout_s + 2.0):
            serve(home, log, given.parent)
    except TidegateError as error:
        write_failure(home, "worker", error)
        log("cannot work", **described(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # Threads of handlers that did not end in time must not keep the process; their messages are delivered again.
    sys.stderr.flush()
    os._exit(code)
