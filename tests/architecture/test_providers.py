"""Another provider needs its folders and one line each in two files. No other code names a provider.

docs/add-a-provider.md walks through it. infra/, one file each, comes with the Pulumi programs; localstack/ is not
counted: a provider without an emulator is by documentation only, and its rows in docs/capabilities.md say so.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from adapters.urls import PROVIDERS

ROOT = Path(__file__).resolve().parents[2]
CLOUDS = tuple(name for name in PROVIDERS if name not in ("memory", "local"))
SDKS = ("boto3", "botocore", "obstore", "google", "googleapis", "amazonaws", "opentelemetry")
PLATFORMS = ("cloud_run", "container_app", "function_app")
WORDS = sorted(
    {*CLOUDS, *SDKS, *PLATFORMS, *(each for name in CLOUDS for port in PROVIDERS[name].values() for each in port)}
)
NAMED = re.compile(rf"(?<![a-z0-9])({'|'.join(WORDS)})(?![a-z0-9])", re.IGNORECASE)
FOLDERS = ("adapters", "functions/runtimes")
ROOMS = ("shared", "functions", "cli", "adapters")
REGISTRY = "adapters/urls.py"
ELSEWHERE = {
    REGISTRY: "the registry itself",
    "adapters/obstore_store.py": "what two providers share: the SDK that speaks both their protocols",
    "adapters/obstore_calls.py": "the same: the name of its thread",
    "adapters/otlp.py": "what two providers share: OpenTelemetry",
    "cli/emulate.py": "the help names the emulators that there are; localstack.clouds.NEEDS decides",
    "cli/package.py": "the help names the platforms that there are; infra/package/contents.py has what each needs",
    "cli/demo/command.py": "the choices of --provider: the stacks that localstack/ can emulate whole",
    "functions/runtimes/environment.py": "variables by which platforms name an execution that they start again; "
    "one that names none sets TIDEGATE_EXECUTION",
}


@pytest.mark.parametrize("provider", CLOUDS)
def test_a_provider_is_two_folders_a_rig_an_extra_and_a_line(provider: str) -> None:
    for folder in FOLDERS:
        assert (ROOT / folder / provider / "__init__.py").read_text() == ""
    assert (ROOT / "tests" / "conformance" / f"{provider}_rigs.py").is_file()
    assert provider in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = [line for line in (ROOT / REGISTRY).read_text().splitlines() if f'"{provider}"' in line]
    assert len(lines) == 1
    for port in PROVIDERS[provider]:
        assert (ROOT / "adapters" / provider / f"{port}.py").is_file()


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_else_names_a_provider(room: str) -> None:
    assert {name: found for name, found in named_in(room).items() if name not in ELSEWHERE} == {}


def test_every_exception_is_still_one() -> None:
    found = {name for room in ROOMS for name in named_in(room)}
    assert set(ELSEWHERE) - found == set()


def test_a_provider_that_is_named_would_be_found() -> None:
    texts = ('if url.startswith("s3://"): ...', "import boto3", "from adapters.azure import sdk", "gcp = 1", "f(aws=1)")
    for text in (*texts, 'NAME = "AWS_REGION"', 'x = f"https://{host}.googleapis.com"', "def azure_only(): ..."):
        assert names(ast.parse(text)), text
    assert not names(ast.parse('"""Not for S3."""\n# nor AWS\nlaws = lambda gsm: gsm.azimuth'))


@cache
def named_in(room: str) -> dict[str, list[str]]:
    """Return the files of a room, outside the providers' own folders, with what each names."""
    own = tuple(f"{folder}/{provider}/" for folder in FOLDERS for provider in CLOUDS)
    files = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / room).rglob("*.py"))}
    found = {name: names(ast.parse(path.read_text())) for name, path in files.items() if not name.startswith(own)}
    return {name: lines for name, lines in found.items() if lines}


def names(tree: ast.AST) -> list[str]:
    """Return the lines of a module's code that name a provider, its SDK, a scheme of its or a platform's variable."""
    return [f"{line}: {text[:80]}" for line, text in code(tree) if NAMED.search(text)]


def code(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield names, imports and texts of a module: its code, without comments and docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield line, text
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield line, name
            case ast.arg(arg=str(name)) | ast.keyword(arg=str(name)) | ast.alias(name=name):
                yield line, name
            case ast.ImportFrom(module=str(name)):
                yield line, name
