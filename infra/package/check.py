"""Runs a unit's functions from its package alone: in a new interpreter with only its standard library on the path."""

import subprocess
import sys
from pathlib import Path

from infra.package.contents import CLOUD_IMPORTS, IMPORTS
from shared.errors import ConfigurationError
from shared.topology import FUNCTIONS, Unit

_TIMEOUT_S = 180.0
_SCRIPT = """
import importlib, sys
root, names, modules, runtime, live = sys.argv[1], *(each.split(",") for each in sys.argv[2:4]), *sys.argv[4:6]
assert not any("site-packages" in path for path in sys.path), sys.path
sys.path.insert(0, root)
for module in modules:
    importlib.import_module(module)
from functions.runtimes.dispatch import handler_of
for name in names:
    handler_of(name)
importlib.import_module("functions.runtimes.job")
importlib.import_module(runtime)
if live:
    import os
    from importlib import resources
    os.environ["TIDEGATE_FUNCTION"] = live
    os.environ["TIDEGATE_SETTINGS"] = '''{"format": "settings/1", "stack": "check", "stores": {"landing":
        "s3://a?region=eu-west-1", "system": "s3://b?region=eu-west-1", "capture": "s3://c?region=eu-west-1"},
        "queues": "sqs://eu-west-1/a-", "jobs": "ecs://eu-west-1/a/b?subnets=c", "metrics": "cloudwatch://eu-west-1/a",
        "limits": "lambda://eu-west-1/a-", "secrets": "secretsmanager://eu-west-1/a-", "issuer": "https://i.example",
        "audience": "a", "trust_roots": {}, "token_keys": {"k": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}'''
    class Context:
        aws_request_id = "check"
        def get_remaining_time_in_millis(self): return 30000
    event = {"version": "2.0", "rawPath": "/v2/health/live", "requestContext": {"http": {"method": "GET"}}}
    answer = importlib.import_module(runtime).handler(event, Context())
    assert answer["statusCode"] == 200, answer
foreign = sorted({
    module.__file__ for module in list(sys.modules.values())
    if getattr(module, "__file__", None) and not module.__file__.startswith((root, sys.base_prefix))
})
assert not foreign, foreign
print("checked")
"""


def check_package(root: Path, unit: Unit, provider: str) -> None:
    """Check that the unit's functions import from the package alone, and that its HTTP handler answers.

    Args: root: the package, unpacked. Raises: ConfigurationError: one does not; the message has the interpreter's.
    """
    functions = [function for function in FUNCTIONS if function.unit == unit]
    modules = [*IMPORTS[unit], *CLOUD_IMPORTS[provider]]
    live = "infer" if provider == "aws" and any(function.http for function in functions) else ""
    names = ",".join(function.name for function in functions)
    arguments = [str(root), names, ",".join(modules), f"functions.runtimes.{provider}.main", live]
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", _SCRIPT, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if ended.returncode or "checked" not in ended.stdout.splitlines()[-1:]:
        said = ended.stderr.strip().splitlines()[-1:] or [f"it ended with exit code {ended.returncode}"]
        raise ConfigurationError(
            f"the {unit} unit for {provider} does not run from its package alone: {said[0][:300]}; add what it "
            "needs to the unit's extra, and do not exclude it in infra/package/contents.py"
        )
