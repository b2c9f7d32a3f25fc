"""Tidegate deployed on the emulated Google Cloud, as infra/ deploys it on a real project.

Buckets, topics, subscriptions, functions and schedules are created from shared/topology.py. Cloud Storage and Pub/Sub
are emulators; the former publishes its events to the latter. functions-framework runs each function in processes of its
own: one service for its routes and one for its events. The parts without an emulator are our own: push
(pubsub_push.py), Cloud Scheduler, Cloud Run jobs, Secret Manager, the load balancer (reverse_proxy.py), and an
OpenTelemetry collector, which cannot be queried.

Differences from a real project: callers of the event services are not authenticated, a service has one instance, and
memory is not limited. The emulator has one notification, of the whole landing bucket, in place of one for each prefix.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from functions.runtimes.environment import ADDRESS, FUNCTION
from functions.runtimes.gcp.http import MAX_BODY_BYTES
from localstack import emulators, gcp_host
from localstack.cloudrun_runner import cloudrun
from localstack.clouds import create_bucket, create_subscription, create_topic
from localstack.collector import collector
from localstack.concurrently import concurrently
from localstack.emulators import Running
from localstack.gcp_host import GcpFunction
from localstack.installation import installed
from localstack.pubsub_push import push
from localstack.reverse_proxy import reverse_proxy
from localstack.scheduler import Job, scheduling
from localstack.secret_manager import secret_manager
from localstack.stacks.emulated import (
    NO_LOCAL,
    ROOT,
    SIGNING_KEY,
    EmulatedStack,
    Keys,
    function_environment,
    settings_for,
)
from shared.events import UploadReceived
from shared.settings import Settings, Stores
from shared.topology import BY_NAME, FUNCTIONS, MAX_RECEIVES, Function, queue_names, subscribers

Target = Literal["http", "event"]
PROJECT, REGION, JOB = "emulated", "europe-west4", "job"
PREFIX = "tidegate-"
STORES = ("landing", "system", "capture")
LANDING = "landing"
"""The topic and subscription of the landing bucket's events."""
MAIN = ROOT / "functions/runtimes/gcp/main.py"
PATH = (NO_LOCAL, ROOT)
JOB_COMMAND = (sys.executable, "-m", "functions.runtimes.job")
ENVIRONMENT = {"GOOGLE_CLOUD_PROJECT": PROJECT, "OTEL_RESOURCE_ATTRIBUTES": f"gcp.project_id={PROJECT}"}
"""The adapters use the emulators through the settings' URLs, without credentials."""
THREADS = "THREADS"
"""Concurrent calls of functions-framework's server: Cloud Run's concurrency."""


@contextmanager
def served(folder: Path, say: Callable[[str], None]) -> Iterator[EmulatedStack]:
    """Run the stack until the block ends. Args: as localstack.stacks.served's. Raises: NotInstalled, NotStarted."""
    place = installed(say, names=("gcs", "pubsub"))
    with ExitStack() as running:
        project = Project(place, folder, running)
        say(f"Google Cloud is emulated: Cloud Storage at {project.storage.url}, Pub/Sub at {project.broker.url}")
        project.deploy()
        say(f"{len(project.services)} services are deployed, called at {project.proxy.url}")
        yield EmulatedStack(
            provider="gcp",
            url=project.proxy.url,
            settings=project.settings,
            keys=project.keys,
            environment=ENVIRONMENT,
            logs=folder,
            invocations=project.invocations,
        )


class Project:
    """One emulated project and its deployment.

    Args: place: the folder of the installed emulators. folder: for the logs. running: stops everything.
    """

    def __init__(self, place: Path, folder: Path, running: ExitStack) -> None:
        self.keys = Keys()
        self.services: dict[tuple[str, Target], GcpFunction] = {}
        self._folder = folder
        self._running = running
        start = running.enter_context
        self.broker = start(emulators.pubsub(place))
        for name in (*queue_names(), LANDING):
            self._make_topic(name)
        self.storage = start(
            emulators.gcs(place, events=self.broker, project=PROJECT, topic=PREFIX + LANDING, bucket=PREFIX + LANDING)
        )
        self.secrets = start(secret_manager(PROJECT))
        self.metrics = start(collector())
        self.jobs, tasks = start(cloudrun(JOB_COMMAND, project=PROJECT, region=REGION, job=JOB))
        self.proxy = start(reverse_proxy())
        self.settings = _settings(self.keys, self.storage, self.broker, tasks, self.secrets.url, self.metrics.url)

    def deploy(self) -> None:
        """Deploy everything, callers last."""
        for name in STORES:
            create_bucket(self.storage, PREFIX + name)
        values = {SIGNING_KEY: self.keys.signing}
        for secret in {secret for function in FUNCTIONS for secret in function.secrets}:
            self.secrets.put(PREFIX + secret, values[secret])
        self.jobs.environment = function_environment(self.settings, "only what an execution sets", ENVIRONMENT)
        declared = list(services())
        hosts = self._running.enter_context(concurrently([self._service(*each) for each in declared]))
        for (function, target), host in zip(declared, hosts, strict=True):
            self.services[function.name, target] = host
            self._folder.joinpath(f"{function.name}-{target}.log").symlink_to(host.server.log)
            if target == "http":
                self.proxy.backends[function.name] = host.url
        for name in queue_names():
            self._push(name, name)
        for name in subscribers(UploadReceived.TYPE):
            self._push(LANDING, name)
        self._running.enter_context(scheduling(list(self._schedules())))

    def invocations(self) -> dict[str, int]:
        """Return function -> calls: requests in its services' logs, and executions as a job."""
        counts = Counter({function.name: 0 for function in FUNCTIONS})
        for (name, _), service in self.services.items():
            counts[name] += sum(service.invocations().values())
        counts.update(task.environment[FUNCTION] for task in self.jobs.executions)
        return dict(counts)

    def _service(self, function: Function, target: Target) -> AbstractContextManager[GcpFunction]:
        given = {**ENVIRONMENT, ADDRESS: self.proxy.url, THREADS: str(function.concurrency)}
        environment = function_environment(self.settings, function.name, given)
        return gcp_host.function(MAIN, target, environment, path=PATH, timeout_s=function.timeout_s)

    def _make_topic(self, name: str) -> None:
        """Create a topic and its subscription, and a dead-letter topic with one."""
        topic, dead = _path("topics", name), _path("topics", f"{name}-dead")
        for each in (topic, dead):
            create_topic(self.broker, each)
        create_subscription(self.broker, _path("subscriptions", f"{name}-dead"), dead)
        create_subscription(
            self.broker, _path("subscriptions", name), topic, dead_letters=dead, max_receives=MAX_RECEIVES
        )

    def _push(self, subscription: str, name: str) -> None:
        """Push a subscription's messages to a function."""
        path, timeout_s = _path("subscriptions", subscription), BY_NAME[name].timeout_s
        self._running.enter_context(push(self.broker, path, self.services[name, "event"].url, timeout_s=timeout_s))

    def _schedules(self) -> Iterator[Job]:
        for function in FUNCTIONS:
            if function.schedule:
                every_s: float = getattr(self.settings, function.schedule)
                yield Job(PREFIX + function.name, self.services[function.name, "event"].url, every_s)


def services() -> Iterator[tuple[Function, Target]]:
    """Yield the services: one for each function's routes, and one for its events."""
    for function in FUNCTIONS:
        if function.http:
            yield function, "http"
        if function.subscribes or function.schedule:
            yield function, "event"


def _settings(keys: Keys, storage: Running, broker: Running, tasks: Running, secrets: str, metrics: str) -> Settings:
    """Return the stack's settings. The demo uploads its files over HTTP: Cloud Run's limit is higher than Lambda's."""
    settings = settings_for(
        "gcp",
        keys,
        stores=Stores(**{name: f"gs://{PREFIX}{name}?endpoint={storage.url}" for name in STORES}),
        queues=f"pubsub://{PROJECT}/{PREFIX}?endpoint={broker.url}",
        jobs=f"cloudrun://{PROJECT}/{REGION}/{JOB}?endpoint={tasks.url}",
        metrics=f"cloudmonitoring://?endpoint={metrics}",
        limits=f"cloudfunctions://{PROJECT}/{REGION}",
        secrets=f"secretmanager://{PROJECT}/{PREFIX}?endpoint={secrets}",
    )
    return msgspec.structs.replace(settings, max_upload_bytes=MAX_BODY_BYTES)


def _path(kind: Literal["topics", "subscriptions"], name: str) -> str:
    return f"projects/{PROJECT}/{kind}/{PREFIX}{name}"
