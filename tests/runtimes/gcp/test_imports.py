"""What a service's process imports, by function: Google's adapters and what its unit ships, and nothing else."""

import pytest

from shared.settings import Stores
from shared.topology import FUNCTIONS, Function
from tests.runtimes.closures import imported, unwanted
from tests.runtimes.clouds import environ
from tests.runtimes.conftest import settings

pytestmark = pytest.mark.emulator

ENTRY = "import functions.runtimes.gcp.main"
SETTINGS = settings(
    stores=Stores(**{name: f"gs://{name}" for name in ("landing", "system", "capture")}),
    queues="pubsub://project/tidegate-",
    jobs="cloudrun://project/europe-west4/train",
    metrics="cloudmonitoring://collector.example",
    limits="cloudfunctions://project",
    secrets="secretmanager://project",
)
CALLED = [function for function in FUNCTIONS if function.subscribes or function.http or function.schedule]


@pytest.mark.parametrize("function", CALLED, ids=lambda function: function.name)
def test_a_services_process_imports_what_its_function_needs(function: Function) -> None:
    found = imported(ENTRY, environ(function.name, SETTINGS))
    assert {"adapters.gcp.store", "functions_framework"} <= found
    assert found & unwanted(function, "gcp") == set()
    assert not {"google.auth", "google.cloud.storage", "google.cloud.pubsub_v1", "grpc"} & found, "a client at start"


def test_importing_the_entry_points_makes_nothing() -> None:
    found = imported(ENTRY + "\nprint(json.dumps(sorted(sys.modules)))\nsys.exit()", {})
    assert not {name for name in found if name.startswith("adapters.gcp")}
    assert not {"numpy", "onnxruntime", "jwt"} & found
