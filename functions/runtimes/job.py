"""A job's process: one function handles one event to its end, and the exit code says how that went.

`python -m functions.runtimes.job` is what a cloud's job runs; the environment says which stack, function and event
(functions.runtimes.environment). By hand, `--function train EVENT.json` handles an event from a file. A local home's
jobs run functions.runtimes.local.job.
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
"""Between tries, where trying again may help; a job claims its work once, so that its retries find it theirs."""
DONE = 0
OVERDUE = 70
"""Exit code of a job whose time was up (EX_SOFTWARE)."""
INTERNAL = TidegateError.exit_code


def run(
    function: str, event: Event, platform: Platform, *, sleep: Callable[[float], None], say: Callable[[str], None]
) -> int:
    """Let the function handle the event, and return the exit code: 0 done, else that of the error (shared.errors).

    Args: say: takes one line of the job's log.
    """
    for pause_s in (*PAUSES_S, None):
        try:
            deliver(function, event, platform)
        except TransientError as error:
            say(_line("try failed", function, event, error))
            if pause_s is None:
                return error.exit_code
            sleep(pause_s)
        except Exception as error:
            say(_line("failed", function, event, error))
            return error.exit_code if isinstance(error, TidegateError) else INTERNAL
        else:
            say(_line("done", function, event, None))
            return DONE
    raise AssertionError("unreachable: the last try returns")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a job; returns its exit code."""
    parser = argparse.ArgumentParser(prog="job", description="Let a function handle one event to its end.")
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
    """End this process when its time is up; what it has claimed then lapses, and another takes it on."""
    if limit_s is not None:
        watch = threading.Timer(limit_s, os._exit, (OVERDUE,))
        watch.daemon = True
        watch.start()


def run_task(task: Callable[[], tuple[str, bytes, Platform]]) -> int:
    """Find out what is to be done and do it; returns the exit code. Args: task: function, event as bytes, platform."""
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
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )


def _line(message: str, function: str, event: Event, error: BaseException | None) -> str:
    fields: dict[str, object] = {"message": message, "function": function, "event": event.id, "usecase": event.usecase}
    return msgspec.json.encode({**fields, **(described(error) if error else {})}).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
