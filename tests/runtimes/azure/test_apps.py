"""Which functions share an app, and what an app's folder holds."""

import ast
import json

import msgspec

from functions.runtimes.azure.apps import app_files, apps, host_document
from shared.topology import FUNCTIONS, MAX_RECEIVES, function_named


def test_every_function_that_is_called_is_in_one_app_and_a_job_in_none() -> None:
    placed = [name for app in apps() for name in app.functions]
    called = [function.name for function in FUNCTIONS if function.subscribes or function.http or function.schedule]
    assert sorted(placed) == sorted(called)
    assert "train" not in placed
    assert len({app.name for app in apps()}) == len(apps())


def test_functions_share_an_app_only_where_everything_they_may_do_is_equal() -> None:
    for app in apps():
        first, *others = [function_named(name) for name in app.functions]
        for other in others:
            assert set(other.grants) == set(first.grants)
            assert (other.secrets, other.submits, other.memory_mb) == (first.secrets, first.submits, first.memory_mb)


def test_only_a_function_with_the_same_properties_joins_an_app() -> None:
    labels = function_named("labels")
    twin = msgspec.structs.replace(labels, name="twin", timeout_s=90, concurrency=4)
    (app,) = apps([labels, twin])
    assert app.functions == ("labels", "twin")
    assert (app.name, app.timeout_s, app.concurrency) == ("labels-twin", 90, 4)
    validate = function_named("validate")
    for change in (
        {"memory_mb": 1024},
        {"grants": validate.grants},
        {"sends": validate.sends},
        {"submits": ("train",)},
        {"secrets": ("signing-key",)},
        {"unit": "data"},
    ):
        assert len(apps([labels, msgspec.structs.replace(twin, **change)])) == 2, change


def test_an_apps_folder_has_what_the_host_looks_for() -> None:
    for app in apps():
        files = app_files(app)
        assert sorted(files) == ["function_app.py", "host.json"]
        first, second = ast.parse(files["function_app.py"]).body
        assert isinstance(first, ast.ImportFrom)
        assert isinstance(second, ast.Assign)
        assert json.loads(files["host.json"]) == host_document(app)


def test_the_host_has_the_topologys_limits() -> None:
    (validate,) = [app for app in apps() if "validate" in app.functions]
    document = host_document(validate)
    assert document["functionTimeout"] == "00:05:00"
    assert document["extensions"]["http"]["routePrefix"] == ""
    assert document["extensions"]["queues"]["maxDequeueCount"] == MAX_RECEIVES
    assert document["extensions"]["queues"]["batchSize"] == function_named("validate").concurrency
