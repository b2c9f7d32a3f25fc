"""A local job's process: `python -m functions.runtimes.local.job --home H FOLDER`, started by adapters.local.jobs.

By hand, `--function train EVENT.json` handles an event from a file.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from adapters.local.job_folder import read_spec
from functions.runtimes.job import run_task
from functions.runtimes.local.home import open_home
from functions.runtimes.local.platform import compose
from shared.errors import ConfigurationError
from shared.platform import Platform
from shared.topology import function_named


def main(arguments: Sequence[str]) -> int:
    """Run a job; returns its exit code."""
    parser = argparse.ArgumentParser(prog="job", description="Handle one event with a function.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--function", help="where the event is given as a file")
    parser.add_argument("source", type=Path, help="a job's folder, or a file that holds an event")
    given = parser.parse_args(arguments)

    def task() -> tuple[str, bytes, Platform]:
        home = open_home(given.home)
        function, body = _task(given.source, given.function)
        # A job that is restarted after a kill has the same id, so the claims that it made are still its own.
        return function_named(function).name, body, compose(home, given.source.absolute().name)

    return run_task(task)


def _task(source: Path, function: str | None) -> tuple[str, bytes]:
    if source.is_dir():
        spec = read_spec(source)
        return spec.function, spec.event
    if function is None:
        raise ConfigurationError(f"{source} is not a job's folder; for a file that holds an event, add --function NAME")
    return function, source.read_bytes()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
