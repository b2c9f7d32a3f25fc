"""What a deployment's process has imported once it is ready for its first call, seen in a fresh one.

Whatever a process imports, every cold start pays: so the libraries are held by name, exactly, and of Python's own
modules those that are slow and that nothing of ours needs before its first call.
"""

import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from shared.topology import Function

ROOT = Path(__file__).resolve().parents[2]
PROVIDERS = ("adapters.local", "adapters.memory", "adapters.aws", "adapters.azure", "adapters.gcp")
SDKS = {
    "aws": ("boto3", "botocore"),
    "azure": ("azure.core", "azure.storage.queue", "azure.identity", "azure.functions"),
    "gcp": ("google.auth", "google.cloud.storage", "google.cloud.pubsub_v1", "functions_framework", "flask"),
}
_TRAINS = ("pandas", "sklearn", "scipy", "optuna", "skl2onnx", "onnx")
_NEVER = (*_TRAINS, "typer", "rich", "ruamel", "uvicorn", "sqlite3", "pytest")
ABSENT = {"serve": (*_NEVER, "pyarrow"), "data": (*_NEVER, "onnxruntime", "jwt", "cryptography")}
NOT_AT_START = (
    "jwt",
    "cryptography.x509",
    "cryptography.hazmat.primitives.serialization",
    "obstore",
    "pyarrow.compute",
)
"""What is ours to import, and is for other calls than the first, or for calls that reach a store."""
SLOW = (
    *("asyncio", "concurrent.futures", "dataclasses", "difflib", "email.message", "http.client", "importlib.metadata"),
    *("logging", "multiprocessing", "pathlib", "random", "secrets", "socket", "ssl", "statistics", "subprocess"),
    *("tempfile", "urllib.request", "xml.etree.ElementTree", "zipfile"),
)
"""Of Python's own: what nothing of ours needs at start. Some come with pyarrow, or with a provider's library."""
LIBRARIES = {
    "infer": {"cryptography", "msgspec", "numpy", "onnxruntime"},
    "register": {"cryptography", "msgspec"},
    "release": {"cryptography", "msgspec", "numpy"},
    "collect": {"msgspec", "numpy", "pyarrow"},
}
"""What functions import of others' libraries, before their first call; those that are not named, msgspec only."""
_MINOR = {"_cffi_backend", "cloudpickle", "typing_extensions"}
"""What comes with these libraries."""
_HTTP = {"cryptography"}
_READY = """
import json, os, sys
from functions.runtimes.dispatch import bind
from functions.runtimes.host import Host
{entry}
host = Host(os.environ)
for function in host.functions:
    bind(function.name, host.platform)
    if function.http:
        host.service
print(json.dumps(sorted(sys.modules)))
"""
_PLACES = """
import json, sys
places = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
print(json.dumps(places))
"""


def imported(entry: str, environ: Mapping[str, str]) -> set[str]:
    """Return the modules of a process that ran `entry`, made its host, and found its functions."""
    return set(json.loads(run(_READY.format(entry=entry), environ).splitlines()[-1]))


def places(code: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the modules of a process that ran `code`, each with its file, "" where it has none."""
    found: dict[str, str] = json.loads(run(code + _PLACES, environ).splitlines()[-1])
    return found


def run(code: str, environ: Mapping[str, str]) -> str:
    """Run code in a fresh process, and return what it wrote."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin", "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


def libraries(found: Mapping[str, str]) -> set[str]:
    """Return the names of others' libraries among modules with their files."""
    return {name.partition(".")[0] for name, file in found.items() if "site-packages" in file} - _MINOR


def expected_libraries(function: Function) -> set[str]:
    """Return the libraries that a function's process has before its first call, whatever its provider."""
    return LIBRARIES.get(function.name, {"msgspec", *(_HTTP if function.http else ())})


def unwanted(function: Function, provider: str, allowed: Collection[str] = ()) -> set[str]:
    """Return the modules that a function's process on a provider must not have."""
    adapters = {name for name in PROVIDERS if name != f"adapters.{provider}"}
    sdks = {name for other, names in SDKS.items() if other != provider for name in names}
    ours = {*NOT_AT_START, *(("numpy", "pyarrow") if function.name in ("validate", "monitor", "reconcile") else ())}
    return (adapters | sdks | ours | set(ABSENT[function.unit])) - set(allowed)
