"""The time of a preview of each program, import of the SDK included, against the engine on an empty program.

    uv run --group test python -m benchmarks.infra_preview [ROUNDS]

Each round previews every program once, one after another, as `tidegate preview` does, in a process of its own; a ratio
is the median of the rounds' own ratios to the empty program. The providers' plugins are stand-ins
(tests/infra/stand_in), so that what a plugin takes to start and to check is not in it.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from localstack.installation import installed, pulumi_programs
from tests.infra.cloud_packages import small_packages
from tests.infra.conftest import options_of
from tests.infra.stand_in.aws import Account
from tests.infra.stand_in.azure import Subscription
from tests.infra.stand_in.base import StandIn, stand_in
from tests.infra.stand_in.gcp import Project
from tests.infra.test_aws_stack import CONFIG as AWS
from tests.infra.test_azure_stack import CONFIG as AZURE
from tests.infra.test_gcp_stack import CONFIG as GCP

EMPTY = "from infra.engine import open_stack; open_stack('empty', {}, print, program=lambda: None).preview()"


def main(rounds: int) -> None:
    """Print the table."""
    place = installed(print, names=["pulumi"])
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, cases(Path(folder)) as commands:
        for _ in range(rounds):
            for name, (command, given) in commands.items():
                path = os.pathsep.join((str(pulumi_programs(place)), os.environ["PATH"]))
                environment = {**os.environ, **given, "PATH": path, "TIDEGATE_STACKS": f"{folder}/stacks"}
                began = time.perf_counter()
                subprocess.run(command, env=environment, check=True, capture_output=True)
                taken.setdefault(name, []).append(time.perf_counter() - began)
    print(f"{'':10}{'least s':>10}{'x':>8}  of the empty program, {rounds} rounds")
    for name, times in taken.items():
        ratio = median(mine / empty for mine, empty in zip(times, taken["empty"], strict=True))
        print(f"{name:10}{min(times):10.2f}{ratio:8.2f}")


@contextmanager
def cases(folder: Path) -> Iterator[Mapping[str, tuple[list[str], Mapping[str, str]]]]:
    """Yield name -> (command, environment)."""
    nowhere = "http://127.0.0.1:9"
    account = Account(nowhere, nowhere, runtime=folder, job_environment={})
    subscription = Subscription.__new__(Subscription)
    project = Project(nowhere, nowhere, nowhere)
    found: dict[str, tuple[list[str], Mapping[str, str]]] = {"empty": ([sys.executable, "-c", EMPTY], {})}
    with ExitStack() as parts:
        served: dict[str, StandIn] = {
            "aws": parts.enter_context(stand_in("aws", account.kinds(), account.invokes())),
            "azure": parts.enter_context(stand_in("azure-native", subscription.kinds(), subscription.invokes())),
            "gcp": parts.enter_context(stand_in("gcp", project.kinds(), project.invokes())),
        }
        configurations = {"local": {"provider": "local", "port": 0}, "aws": AWS, "azure": AZURE, "gcp": GCP}
        for name, config in configurations.items():
            dist = folder / f"dist-{name}"
            dist.mkdir()
            given = {**config, **({} if name == "local" else {"packages": str(small_packages(dist, name))})}
            options = [part for each in options_of(given) for part in ("--config", each)]
            command = [sys.executable, "-m", "cli.main", "preview", "--stack", name, "--json", *options]
            found[name] = command, served[name].environment if name in served else {}
        yield found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
