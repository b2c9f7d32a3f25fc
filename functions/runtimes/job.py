"""A job's process: one function handles one event to its end, and the exit code says how that went.

`python -m functions.runtimes.job --home H FOLDER` is what local jobs run (adapters.local.jobs gives the folder). By
hand, `--function train EVENT.json` handles an event from a file.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from adapters.local.job_folder import read_spec
from functions.runtimes.dispatch import deliver
from functions.runtimes.local.home import open_home
from functions.runtimes.local.platform import compose
from functions.runtimes.log import described
from shared.errors import ConfigurationError, TidegateError, TransientError
from shared.events import Event
from shared.platform import Platform
from shared.topology import function_named

PAUSES_S = (1.0, 4.0, 16.0)
"""Between tries, where trying again may help; a job claims its work once, so that its retries find it theirs."""
DONE = 0
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


def main(arguments: Sequence[str]) -> int:
    """Run a job; returns its exit code."""
    parser = argparse.ArgumentParser(prog="job", description="Let a function handle one event to its end.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--function", help="where the event is given as a file")
    parser.add_argument("source", type=Path, help="a job's folder, or a file that holds an event")
    given = parser.parse_args(arguments)
    try:
        home = open_home(given.home)
        function, body = _task(given.source, given.function)
        # A job's id is the same when it is started again after a kill: what it claimed then is still its own.
        platform = compose(home, given.source.absolute().name)
        declared, event = function_named(function), Event.decode(body)
    except (TidegateError, OSError) as error:
        sys.stderr.write(msgspec.json.encode({"message": "cannot start", **described(error)}).decode() + "\n")
        return error.exit_code if isinstance(error, TidegateError) else INTERNAL
    return run(
        declared.name,
        event,
        platform,
        sleep=lambda pause_s: time.sleep(pause_s * (0.5 + random.random() / 2)),  # noqa: S311 - only spreads retries
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )


def _task(source: Path, function: str | None) -> tuple[str, bytes]:
    if source.is_dir():
        spec = read_spec(source)
        return spec.function, spec.event
    if function is None:
        raise ConfigurationError(f"{source} is not a job's folder; for a file that holds an event, add --function NAME")
    return function, source.read_bytes()


def _line(message: str, function: str, event: Event, error: BaseException | None) -> str:
    fields: dict[str, object] = {"message": message, "function": function, "event": event.id, "usecase": event.usecase}
    return msgspec.json.encode({**fields, **(described(error) if error else {})}).decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
