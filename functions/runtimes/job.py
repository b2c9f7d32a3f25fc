"""A job's process: one function handles one event, and the exit code is that of its error, or 0.

A cloud's job runs `python -m functions.runtimes.job`; its environment names the stack, the function and the event
(functions.runtimes.environment). By hand, `--function train EVENT.json` handles an event from a file. The jobs of a
local home run functions.runtimes.local.job.
"""

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from functions.runtimes.compose import compose
from functions.runtimes.dispatch import deliver
from functions.runtimes.environment import event_of, execution_of, function_of, limit_of, settings_of
from functions.runtimes.log import described
from shared.errors import TidegateError, TransientError
from shared.events import Event
from shared.platform import Platform
from shared.topology import function_named

PAUSES_S = (1.0, 4.0, 16.0)
"""The pauses before the next attempts after a transient error. A retry finds its own claim of the training key."""
DONE = 0
OVERDUE = 70
"""Exit code of a job that ran past its time limit (EX_SOFTWARE)."""
INTERNAL = TidegateError.exit_code


def run(
    function: str, event: Event, platform: Platform, *, sleep: Callable[[float], None], write_log: Callable[[str], None]
) -> int:
    """Handle the event, and return the exit code: 0, or that of the error (shared.errors).

    Args: write_log: takes one line of the job's log.
    """
    for pause_s in (*PAUSES_S, None):
        try:
            deliver(function, event, platform)
        except TransientError as error:
            write_log(_line("attempt failed", function, event, error))
            if pause_s is None:
                return error.exit_code
            sleep(pause_s)
        except Exception as error:
            write_log(_line("failed", function, event, error))
            return error.exit_code if isinstance(error, TidegateError) else INTERNAL
        else:
            write_log(_line("done", function, event, None))
            return DONE
    raise AssertionError("unreachable: the last try returns")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a job; returns its exit code."""
    parser = argparse.ArgumentParser(prog="job", description="Handle one event with a function.")
    parser.add_argument("--function", help="where the event is given as a file")
    parser.add_argument("event", nargs="?", type=Path, help="a file that holds an event")
    given = parser.parse_args(arguments)
    if (given.function is None) != (given.event is None):
        parser.error("--function and EVENT go together")

    def task() -> tuple[str, bytes, Platform]:
        _end_after(limit_of(environ))
        function = function_named(given.function) if given.function else function_of(environ)
        body = given.event.read_bytes() if given.event else event_of(environ)
        instance = execution_of(environ, otherwise=f"{function.name}-{os.urandom(8).hex()}")
        return function.name, body, compose(settings_of(environ), instance).platform

    return run_task(task)


def _end_after(limit_s: float | None) -> None:
    """End this process at its time limit. Its claim then expires, and another job continues."""
    if limit_s is not None:
        timer = threading.Timer(limit_s, os._exit, (OVERDUE,))
        timer.daemon = True
        timer.start()


def run_task(task: Callable[[], tuple[str, bytes, Platform]]) -> int:
    """Run a job; returns its exit code. Args: task: returns the function, the event as bytes, and the platform."""
    try:
        function, body, platform = task()
        event = Event.decode(body)
    except (TidegateError, OSError) as error:
        sys.stderr.write(msgspec.json.encode({"message": "cannot start", **described(error)}).decode() + "\n")
        return error.exit_code if isinstance(error, TidegateError) else INTERNAL
    return run(
        function,
        event,
        msgspec.structs.replace(platform, in_job=True),
        sleep=lambda pause_s: time.sleep(pause_s * (0.5 + random.random() / 2)),  # noqa: S311 - only spreads retries
        write_log=lambda line: print(line, file=sys.stderr, flush=True),
    )


def _line(message: str, function: str, event: Event, error: BaseException | None) -> str:
    fields: dict[str, object] = {"message": message, "function": function, "event": event.id, "usecase": event.usecase}
    return msgspec.json.encode({**fields, **(described(error) if error else {})}).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
