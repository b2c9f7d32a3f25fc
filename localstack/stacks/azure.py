"""Tidegate deployed on the emulated Azure, as infra/ deploys it to a real subscription.

Azurite has blobs and queues. Each app of functions.runtimes.azure.apps runs in its own process: Microsoft's worker
library under our Functions host (localstack/azure_host.py), which polls the queues and fires the timers. The parts
without an emulator are by documentation only: one address for all apps, Event Grid's events of written blobs, Key Vault
and the identity that may read it, Container Apps, which runs the job, and the collector of metrics.

One thing differs from a real deployment: storage uses the account's key, because Azurite accepts identities only over
TLS.
"""

import json
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import msgspec

from adapters.azure.jobs import API_VERSION
from functions.runtimes.azure.apps import LANDING_QUEUE, QUEUE_CONNECTION, App, app_files, apps
from functions.runtimes.environment import ADDRESS, FUNCTION
from functions.runtimes.landing import landing_of
from localstack import emulators
from localstack.azure_host import FunctionApp, function_app
from localstack.azure_host_process import LARGEST_BODY_BYTES
from localstack.azure_storage import create_container, create_queues
from localstack.azure_timers import timers
from localstack.collector import collector
from localstack.concurrently import concurrently
from localstack.containerapps_runner import containerapps
from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, azure_connection
from localstack.installation import installed
from localstack.key_vault import RESOURCE, Vault, serving
from localstack.managed_identity import managed_identity
from localstack.object_events import object_events
from localstack.reverse_proxy import reverse_proxy
from localstack.stacks.emulated import SIGNING_KEY, EmulatedStack, Keys, function_environment, settings_for
from shared.serving.routes import ROUTES
from shared.settings import Settings, Stores
from shared.topology import FUNCTIONS, function_named, queue_names

STORES = ("landing", "system", "capture")
PREFIX = "tidegate-"
SUBSCRIPTION, GROUP, JOB, WORKSPACE, VAULT = "emulated", "tidegate", "job", "logs", "tidegate"
AT_ONCE = 3
"""Apps that are started at a time: importing is CPU work, and there may be two cores."""
_STORAGE_KEY = {"AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}
_OPERATIONS = {route.operation: route.function for route in ROUTES}


@contextmanager
def served(folder: Path, say: Callable[[str], None]) -> Iterator[EmulatedStack]:
    """Run the stack until the block ends. Args: as localstack.stacks.served's. Raises: NotInstalled, NotStarted."""
    place = installed(say, names=("azure", "azure-functions"))
    with ExitStack() as parts:
        group = ResourceGroup(place, folder, parts)
        say(f"Azure is emulated: blobs at {group.storage.url}, queues at {group.storage.queue_url}")
        group.deploy()
        say(f"{len(group.apps)} function apps are deployed, called at {group.url}")
        yield group.stack()


class ResourceGroup:
    """One deployment and its emulators.

    Args: place: the folder of the installed emulators. folder: private, for the apps' files and logs. parts: stops
        everything.
    """

    def __init__(self, place: Path, folder: Path, parts: ExitStack) -> None:
        self.keys = Keys()
        self.storage = parts.enter_context(emulators.azure(place))
        self.apps: dict[str, FunctionApp] = {}
        self.logs = folder / "logs"
        self._place = place
        self._folder = folder
        self._parts = parts
        self._vault = parts.enter_context(serving(Vault()))
        self._identity = parts.enter_context(managed_identity({RESOURCE: self._vault.token}))
        # The job's deployment needs the settings, which have the job's URL: filled in later.
        self._job_environment: list[dict[str, str]] = []
        container = {"name": JOB, "image": "tidegate/job", "env": self._job_environment}
        self._jobs = parts.enter_context(
            containerapps(
                [sys.executable, "-m", "functions.runtimes.job"],
                subscription=SUBSCRIPTION,
                resource_group=GROUP,
                job=JOB,
                workspace=WORKSPACE,
                deployed={"containers": [container]},
            )
        )
        self._proxy = parts.enter_context(reverse_proxy())
        self.metrics = parts.enter_context(collector())
        self.settings = _settings(self.keys, self.storage, self._jobs.url, self.metrics.url, self._vault.url)

    @property
    def url(self) -> str:
        """The stack's base URL."""
        return self._proxy.url

    def stack(self) -> EmulatedStack:
        """Return the stack as an operator sees it."""
        return EmulatedStack(
            provider="azure",
            url=self.url,
            settings=self.settings,
            keys=self.keys,
            environment={**_STORAGE_KEY, **self._vault.environment, **self._identity.environment},
            logs=self.logs,
            invocations=self.invocations,
        )

    def deploy(self) -> None:
        """Deploy everything, callers last."""
        self.logs.mkdir()
        for name in STORES:
            create_container(self.storage, name)
        create_queues(self.storage, (PREFIX + name for name in (*queue_names(), LANDING_QUEUE)))
        values = {SIGNING_KEY: self.keys.signing}
        for secret in {secret for function in FUNCTIONS for secret in function.secrets}:
            self._vault.put(secret, values[secret])
        # The caller of an execution chooses its function.
        environment = _writing_bytecode(function_environment(self.settings, "none", _STORAGE_KEY))
        self._job_environment += [{"name": name, "value": value} for name, value in environment.items()]
        self._start_apps()
        self._tell_of_objects()
        self._parts.enter_context(timers(dict(self._timers())))

    def invocations(self) -> dict[str, int]:
        """Return function -> finished calls, as the hosts count them, and executions, as Container Apps counts them."""
        counts = Counter({function.name: 0 for function in FUNCTIONS})
        for app in apps():
            for trigger, ended in self.apps[app.name].invocations().items():
                counts[_function_of(trigger, app)] += ended["succeeded"] + ended["failed"]
        counts.update(self._executed())
        return dict(counts)

    def _start_apps(self) -> None:
        declared = apps()
        started = self._parts.enter_context(concurrently([self._app(app) for app in declared], AT_ONCE))
        for app, running in zip(declared, started, strict=True):
            self.apps[app.name] = running
            (self.logs / f"{app.name}.log").symlink_to(running.server.log)
            for name in app.functions:
                if function_named(name).http:
                    self._proxy.backends[name] = running.url

    def _app(self, app: App) -> AbstractContextManager[FunctionApp]:
        folder = self._folder / "apps" / app.name
        folder.mkdir(parents=True)
        for name, text in app_files(app).items():
            (folder / name).write_text(text)
        return function_app(folder, self._place, self._environment(app))

    def _environment(self, app: App) -> dict[str, str]:
        """Return an app's settings. Only an app with secrets gets the identity that may read them."""
        given = {**_STORAGE_KEY, QUEUE_CONNECTION: azure_connection(self.storage), ADDRESS: self.url}
        if any(function_named(name).secrets for name in app.functions):
            given |= {**self._vault.environment, **self._identity.environment}
        return _writing_bytecode(function_environment(self.settings, ",".join(app.functions), given))

    def _tell_of_objects(self) -> None:
        landing = landing_of(self.settings.stores.landing)
        for prefix in landing.event_prefixes():
            self._parts.enter_context(
                object_events(self.storage, landing.bucket, PREFIX + LANDING_QUEUE, prefix=prefix)
            )

    def _timers(self) -> Iterator[tuple[str, tuple[FunctionApp, float]]]:
        for app in apps():
            for function in map(function_named, app.functions):
                every_s = float(getattr(self.settings, function.schedule)) if function.schedule else 0.0
                if every_s > 0:
                    yield f"timer-{function.name}", (self.apps[app.name], every_s)

    def _executed(self) -> Iterator[str]:
        """Yield the function of each execution of the job."""
        url = f"{self._jobs.url}{self._jobs.path}/executions?api-version={API_VERSION}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            executions = json.load(answer)["value"]
        for each in executions:
            (container,) = each["properties"]["template"]["containers"]
            yield next(str(given["value"]) for given in container["env"] if given["name"] == FUNCTION)


def _settings(keys: Keys, storage: emulators.Running, jobs: str, metrics: str, vault: str) -> Settings:
    """Return the stack's settings. The largest body is the host's limit."""
    settings = settings_for(
        "azure",
        keys,
        stores=Stores(**{name: f"az://{name}?account={AZURE_ACCOUNT}&endpoint={storage.url}" for name in STORES}),
        queues=f"azq://{AZURE_ACCOUNT}/{PREFIX}?endpoint={storage.queue_url}",
        jobs=f"containerapps://{SUBSCRIPTION}/{GROUP}/{JOB}?workspace={WORKSPACE}&endpoint={jobs}",
        metrics=f"azuremonitor://collector?endpoint={metrics}",
        limits="functionapp://tidegate",
        secrets=f"keyvault://{VAULT}?endpoint={vault}",
    )
    return msgspec.structs.replace(settings, max_upload_bytes=LARGEST_BODY_BYTES)


def _function_of(trigger: str, app: App) -> str:
    """Return the function of a trigger of functions.runtimes.azure.main; the gateway's belong to the app's first."""
    kind, _, name = trigger.partition("-")
    function = _OPERATIONS[name] if kind == "http" else name
    return function if function in app.functions else app.functions[0]


def _writing_bytecode(environment: dict[str, str]) -> dict[str, str]:
    """Return the environment without variables that disable bytecode files: ten processes import the same modules."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
