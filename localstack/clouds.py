"""Starts all emulators of a cloud, and returns their addresses and credentials.

    with run(["aws", "gcp"], emulators.installed()) as running:
        running.environment

The credentials here are valid on this machine only.
"""

import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localstack import emulators
from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, Running, azure_connection
from localstack.processes import Process
from localstack.token_issuer import token_issuer

NEEDS: dict[str, tuple[str, ...]] = {"aws": ("aws",), "azure": ("azure",), "gcp": ("gcs", "pubsub")}
"""Cloud -> the environments of localstack.installation that it needs."""
AWS_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "111122223333",  # twelve digits are an account of their own
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}
PROJECT = "emulated"
OBJECTS_TOPIC = "objects"


@dataclass(frozen=True)
class Endpoint:
    """One address. `serves`: its services. `pid`: the process to end, None for this one."""

    cloud: str
    serves: str
    url: str
    pid: int | None


@dataclass(frozen=True)
class Clouds:
    """The running clouds. `environment`: variables to export. `urls`: cloud -> port -> URL template of the settings."""

    endpoints: list[Endpoint] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    urls: dict[str, dict[str, str]] = field(default_factory=dict)
    servers: dict[str, Process] = field(default_factory=dict)

    def ended(self) -> list[str]:
        """Return the names of servers that ended unexpectedly."""
        return [name for name, server in self.servers.items() if server.ended()]

    def add(self, cloud: str, running: Running, serves: Mapping[str, str]) -> None:
        """Add an emulator's services and URL."""
        assert running.server is not None
        self.servers[f"{cloud}: {', '.join(serves)}"] = running.server
        self.endpoints.extend(Endpoint(cloud, what, url, running.server.pid) for what, url in serves.items())


@contextmanager
def run(names: Sequence[str], folder: Path) -> Iterator[Clouds]:
    """Run clouds of NEEDS and a token issuer until the block ends.

    Args: folder: where the emulators are installed. Raises: NotStarted; those that were started are stopped.
    """
    clouds = Clouds()
    start = {"aws": _aws, "azure": _azure, "gcp": _gcp}
    with ExitStack() as stack:
        for name in names:
            start[name](clouds, folder, stack)
        issuer = stack.enter_context(token_issuer())
        clouds.endpoints.append(Endpoint("any", "issuer of access tokens", issuer.url, None))
        yield clouds


def _aws(clouds: Clouds, folder: Path, stack: ExitStack) -> None:
    running = stack.enter_context(emulators.aws(folder))
    clouds.add("aws", running, {"S3, SQS, Lambda, Secrets Manager and more": running.url})
    clouds.environment.update(AWS_ENVIRONMENT, AWS_ENDPOINT_URL=running.url)
    clouds.urls["aws"] = {
        "store": f"s3://BUCKET?endpoint={running.url}",
        "queues": f"sqs:///PREFIX?endpoint={running.url}",
        "secrets": f"secretsmanager:///PREFIX?endpoint={running.url}",
    }


def _azure(clouds: Clouds, folder: Path, stack: ExitStack) -> None:
    running = stack.enter_context(emulators.azure(folder))
    blobs, queues = f"{running.url}/{AZURE_ACCOUNT}", f"{running.queue_url}/{AZURE_ACCOUNT}"
    clouds.add("azure", running, {"Blob Storage": blobs, "Queue Storage": queues})
    clouds.environment.update(
        AZURE_STORAGE_ACCOUNT_NAME=AZURE_ACCOUNT,
        AZURE_STORAGE_ACCOUNT_KEY=AZURE_KEY,
        AZURE_STORAGE_CONNECTION_STRING=azure_connection(running),
    )
    clouds.urls["azure"] = {
        "store": f"az://CONTAINER?account={AZURE_ACCOUNT}&endpoint={running.url}",
        "queues": f"azq://{AZURE_ACCOUNT}/PREFIX?endpoint={running.queue_url}",
    }


def _gcp(clouds: Clouds, folder: Path, stack: ExitStack) -> None:
    broker = stack.enter_context(emulators.pubsub(folder))
    clouds.add("gcp", broker, {"Pub/Sub, gRPC": broker.url, "Pub/Sub, REST": broker.queue_url})
    create_topic(broker, f"projects/{PROJECT}/topics/{OBJECTS_TOPIC}")
    running = stack.enter_context(emulators.gcs(folder, events=broker, project=PROJECT, topic=OBJECTS_TOPIC))
    clouds.add("gcp", running, {f"Cloud Storage (objects written: topic {OBJECTS_TOPIC!r})": running.url})
    clouds.environment.update(
        STORAGE_EMULATOR_HOST=running.url, PUBSUB_EMULATOR_HOST=broker.host_port, GOOGLE_CLOUD_PROJECT=PROJECT
    )
    clouds.urls["gcp"] = {
        "store": f"gs://BUCKET?endpoint={running.url}",
        "queues": f"pubsub://{PROJECT}/PREFIX?endpoint={broker.url}",
    }


def create_topic(broker: Running, topic: str) -> None:
    """Create a topic, "projects/P/topics/T", on the Pub/Sub emulator. Raises: OSError: it refused or did not answer."""
    _make("PUT", f"{broker.queue_url}/v1/{topic}", {})


def create_subscription(
    broker: Running, subscription: str, topic: str, *, dead_letters: str = "", max_receives: int = 5, ack_s: int = 60
) -> None:
    """Create a subscription, "projects/P/subscriptions/S", to a topic.

    Args: dead_letters: the dead-letter topic after `max_receives` deliveries, "" for none. ack_s: the acknowledgement
        deadline. Raises: OSError.
    """
    body: dict[str, Any] = {"name": subscription, "topic": topic, "ackDeadlineSeconds": ack_s}
    if dead_letters:
        body["deadLetterPolicy"] = {"deadLetterTopic": dead_letters, "maxDeliveryAttempts": max_receives}
    _make("PUT", f"{broker.queue_url}/v1/{subscription}", body)


def create_bucket(storage: Running, name: str) -> None:
    """Create a bucket on the Cloud Storage emulator. Raises: OSError: the emulator refused, or did not answer."""
    _make("POST", f"{storage.url}/storage/v1/b", {"name": name})


def _make(method: str, url: str, body: Any) -> None:
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=10):
        pass
