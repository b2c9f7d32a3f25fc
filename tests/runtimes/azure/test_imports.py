"""What an app's process imports, by function: Azure's adapters and what its unit ships, and nothing else."""

import pytest

from functions.runtimes.azure.apps import App, apps
from functions.runtimes.azure.main import build
from shared.errors import ConfigurationError
from shared.settings import Stores
from shared.topology import function_named
from tests.runtimes.closures import imported, unwanted
from tests.runtimes.clouds import environ
from tests.runtimes.conftest import settings

pytestmark = pytest.mark.emulator

ENTRY = "from functions.runtimes.azure.main import function_app\nfunction_app()"
STOP = "\nprint(json.dumps(sorted(sys.modules)))\nsys.exit()"
SETTINGS = settings(
    stores=Stores(**{name: f"az://{name}?account=lake" for name in ("landing", "system", "capture")}),
    queues="azq://lake/tidegate-",
    jobs="containerapps://00000000-0000-0000-0000-000000000000/group/train",
    metrics="azuremonitor://collector.example",
    limits="functionapp://tidegate",
    secrets="keyvault://tidegate",
)


@pytest.mark.parametrize("app", apps(), ids=lambda app: app.name)
def test_an_apps_process_imports_what_its_functions_need(app: App) -> None:
    found = imported(ENTRY, environ(",".join(app.functions), SETTINGS))
    assert {"adapters.azure.store", "azure.functions"} <= found
    assert found & unwanted(function_named(app.functions[0]), "azure") == set()
    assert not {"azure.storage.queue", "azure.identity", "obstore", "opentelemetry.sdk"} & found, "a client at start"


def test_reading_off_the_triggers_makes_nothing() -> None:
    found = imported(ENTRY + STOP, environ("infer", SETTINGS))
    assert not {name for name in found if name.startswith("adapters.azure")}
    assert not {"numpy", "onnxruntime", "jwt"} & found


def test_an_app_accepts_azures_queues_only() -> None:
    with pytest.raises(ConfigurationError, match="azq://ACCOUNT/PREFIX"):
        build(environ("validate", settings(queues="sqs:///tidegate-")))


@pytest.mark.parametrize("missing", ["TIDEGATE_SETTINGS", "TIDEGATE_FUNCTION"])
def test_an_incomplete_environment_names_the_variable(missing: str) -> None:
    given = {name: value for name, value in environ("infer", SETTINGS).items() if name != missing}
    with pytest.raises(ConfigurationError, match=missing):
        build(given)
