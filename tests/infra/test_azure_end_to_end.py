"""The loop on a provisioned stack on the emulated Azure.

Containers and queues are Azurite's. Every provisioned app runs under Microsoft's worker library and our host, with its
files and settings. Our own servers run events, timers, the job, the vault and its identity as the program declares
them. Three things differ: storage uses the account's key, an app's modules are this checkout's, and a reverse proxy
with the table of routes replaces API Management; the functions validate tokens.
"""

import io
import json
import os
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from cli.demo.loop import run
from cli.demo.stack import DemoStack
from functions.runtimes.azure.apps import LANDING_QUEUE, QUEUE_CONNECTION
from functions.runtimes.compose import compose
from functions.runtimes.environment import ADDRESS, FUNCTION, SETTINGS
from infra.azure_upload import BLOB
from localstack import emulators
from localstack.azure_host import FunctionApp, function_app
from localstack.azure_timers import timers
from localstack.collector import collector
from localstack.concurrently import concurrently
from localstack.containerapps_runner import containerapps
from localstack.emulators import AZURE_ACCOUNT, AZURE_KEY, azure_connection
from localstack.key_vault import RESOURCE, Vault, serving
from localstack.managed_identity import managed_identity
from localstack.object_events import object_events
from localstack.reverse_proxy import reverse_proxy
from localstack.token_issuer import TokenIssuer, token_issuer
from shared.settings import read_settings
from shared.topology import function_named
from tests.infra.cloud_packages import small_packages
from tests.infra.conftest import Stacks, options_of
from tests.infra.stand_in.azure import SUBSCRIPTION, Subscription
from tests.infra.stand_in.base import stand_in
from tests.infra.test_azure_stack import CONFIG
from tests.waiting import until

pytestmark = pytest.mark.slow

NAME = AZURE_ACCOUNT
"""Name of the stack and so of its account: our Event Grid reads the emulator's own account."""
WORKSPACE = "00000000-0000-0000-0000-000000000003"
TIMEOUT_S = 120.0
AT_ONCE = 3
USECASE = "late-arrivals"


@dataclass
class Provisioned:
    """The stack, as an operator sees it."""

    issuer: TokenIssuer
    url: str
    settings: str
    apps: dict[str, FunctionApp] = field(default_factory=dict)

    def token(self, *scopes: str) -> str:
        return self.issuer.issue("demo", CONFIG["audience"], scopes)  # type: ignore[arg-type]

    def ask(self, path: str, token: str = "", body: bytes | None = None) -> int:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            request = urllib.request.Request(self.url + path, data=body, headers=headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def calls(self, app: str, trigger: str) -> int:
        ended = self.apps[f"{NAME}-{app}"].invocations().get(trigger, {})
        return ended.get("succeeded", 0) + ended.get("failed", 0)


@pytest.fixture(scope="module")
def stack(
    emulators_folder: Path, hosts_folder: Path, pulumi_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Provisioned]:
    folder, dist = tmp_path_factory.mktemp("azure"), tmp_path_factory.mktemp("dist")
    with ExitStack() as parts:
        start = parts.enter_context
        issuer = start(token_issuer())
        storage = start(emulators.azure(emulators_folder, accounts=(NAME, f"{NAME}host")))
        vault = start(serving(Vault()))
        identity = start(managed_identity({RESOURCE: vault.token}))
        metrics, proxy = start(collector()), start(reverse_proxy())
        container: dict[str, Any] = {"name": "job", "image": "none", "env": []}
        jobs = start(
            containerapps(
                [sys.executable, "-m", "functions.runtimes.job"],
                subscription=SUBSCRIPTION,
                resource_group=NAME,
                job=f"{NAME}-job",
                workspace=WORKSPACE,
                deployed={"containers": [container]},
            )
        )
        subscription = Subscription(storage, vault.url)
        served = start(stand_in("azure-native", subscription.kinds(), subscription.invokes()))
        held = {**vault.environment, **identity.environment, "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}
        changes = {"issuer": issuer.url, "packages": str(small_packages(dist, "azure"))}
        config = {**CONFIG, **changes, "name": NAME, "monitorEveryS": 60, "reconcileEveryS": 60}
        stacks = Stacks(folder / "stacks", options_of(config), {**held, **served.environment})
        parts.callback(stacks.take_down)
        outputs = stacks.up("dev")["outputs"]

        def here(settings: str) -> str:
            """Return a stack's settings with the emulators' addresses in its URLs."""
            document = json.loads(settings)
            stores = {name: f"{url}&endpoint={storage.url}" for name, url in document["stores"].items()}
            at = {
                "queues": f"{document['queues']}?endpoint={storage.queue_url}",
                "jobs": f"{document['jobs']}&endpoint={jobs.url}",
                "secrets": f"{document['secrets']}?endpoint={vault.url}",
                "metrics": f"azuremonitor://collector?endpoint={metrics.url}",
            }
            return json.dumps({**document, **at, "stores": stores})

        root = str(Path(__file__).resolve().parents[2])
        (job,) = served.kinds["azure-native:app:Job"].existing.values()
        (only,) = job["template"]["containers"]
        given = {each["name"]: each["value"] for each in only["env"]}
        given |= {SETTINGS: here(given[SETTINGS]), "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY, "PYTHONPATH": root}
        container["env"] += [{"name": name, "value": value} for name, value in given.items()]

        provisioned = Provisioned(issuer, proxy.url, here(outputs["settings"]))
        firing: dict[str, tuple[FunctionApp, float]] = {}
        sites = list(served.kinds["azure-native:web:WebApp"].existing.values())
        environments = []
        for site in sites:
            settings = {each["name"]: each["value"] for each in site["siteConfig"]["appSettings"]}
            settings = {name: value for name, value in settings.items() if "__" not in name}
            settings |= {SETTINGS: here(settings[SETTINGS]), QUEUE_CONNECTION: azure_connection(storage)}
            environments.append({**settings, **held, ADDRESS: proxy.url})
        folders = [unpacked(subscription, site["name"].removeprefix(f"{NAME}-"), folder) for site in sites]
        running = [
            function_app(each, hosts_folder, environment)
            for each, environment in zip(folders, environments, strict=True)
        ]
        for site, app, environment in zip(sites, start(concurrently(running, AT_ONCE)), environments, strict=True):
            provisioned.apps[site["name"]] = app
            for function in map(function_named, environment[FUNCTION].split(",")):
                if function.http:
                    proxy.backends[function.name] = app.url
                if function.schedule:
                    firing[f"timer-{function.name}"] = app, 60.0
        for given in served.kinds["azure-native:eventgrid:SystemTopicEventSubscription"].existing.values():
            told_of = given["filter"]["subjectBeginsWith"].partition("/containers/")[2]
            bucket, _, prefix = told_of.partition("/blobs/")
            assert given["deliveryWithResourceIdentity"]["destination"]["queueName"] == f"{NAME}-{LANDING_QUEUE}"
            start(object_events(storage, bucket, f"{NAME}-{LANDING_QUEUE}", prefix=prefix, schema="cloudevents"))
        start(timers(firing))
        start(patch.dict(os.environ, held))
        yield provisioned


def unpacked(subscription: Subscription, app: str, to: Path) -> Path:
    """Return the folder of an app's uploaded package."""
    body = subscription.blobs(f"{NAME}host").get_blob_client(f"code-{app}", BLOB).download_blob().readall()
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        packed.extractall(to / app)
    return to / app


def test_the_loop_runs_on_what_was_provisioned(stack: Provisioned) -> None:
    until(lambda: stack.calls("monitor", "timer-monitor") and stack.calls("reconcile", "timer-reconcile"), TIMEOUT_S)
    assert stack.ask("/v2/health/live") == 200
    assert stack.ask(f"/v2/models/{USECASE}/infer", body=b"{}") == 401
    assert stack.ask(f"/v2/models/{USECASE}/infer", stack.token("other:infer"), b"{}") == 403
    platform = compose(read_settings(stack.settings.encode(), "outputs"), "operator").platform
    demo = DemoStack(
        stack.url,
        platform,
        lambda subject, scopes, lifetime_s: stack.token(*scopes),
        "provisioned azure",
        "the apps' logs",
        "azure",
    )
    try:
        result = run(demo, lambda line: None)
    except Exception as error:
        for name, app in stack.apps.items():
            lines = [line for line in app.server.output().splitlines() if "error" in line.lower()]
            error.add_note("\n".join([name, *lines[-3:]])[:3000])
        raise
    assert not result.fsck.findings
    assert stack.ask(f"/v2/models/{USECASE}", stack.token(f"{USECASE}:read")) == 200
    before = stack.calls("validate", "landing-validate")
    platform.landing.put_new(f"drops/{USECASE}/more.csv", b"year,month\n2013,1\n")
    until(lambda: stack.calls("validate", "landing-validate") > before, TIMEOUT_S)
