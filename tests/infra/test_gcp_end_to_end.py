"""The loop on a provisioned stack on the emulated Google Cloud.

Buckets, topics and subscriptions are the emulators'. Every provisioned service runs under Google's functions-framework,
from its package and with its environment. Our own servers run each subscription's push, each schedule and the job as
the program declares them. A reverse proxy with the table of routes replaces the gateway; the functions validate tokens.
"""

import json
import os
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import pytest

from cli.demo.loop import run
from cli.demo.stack import DemoStack
from functions.runtimes.compose import compose
from functions.runtimes.environment import ADDRESS, FUNCTION, SETTINGS
from localstack import emulators, gcp_host
from localstack.cloudrun_runner import cloudrun
from localstack.collector import collector
from localstack.concurrently import concurrently
from localstack.gcp_host import GcpFunction
from localstack.pubsub_push import push
from localstack.reverse_proxy import reverse_proxy
from localstack.scheduler import Job, scheduling
from localstack.secret_manager import secret_manager
from localstack.stacks.gcp import ENVIRONMENT, JOB_COMMAND, THREADS
from localstack.token_issuer import TokenIssuer, token_issuer
from shared.settings import read_settings
from shared.topology import BY_NAME
from tests.infra.conftest import Stacks, options_of
from tests.infra.life import NAME
from tests.infra.stand_in.base import StandIn, stand_in
from tests.infra.stand_in.gcp import PROJECT, REGION, Project
from tests.infra.test_gcp_stack import CONFIG
from tests.waiting import until

pytestmark = pytest.mark.slow

TIMEOUT_S = 120.0
USECASE = "late-arrivals"


@dataclass
class Provisioned:
    """The stack, as an operator sees it."""

    issuer: TokenIssuer
    url: str
    settings: str
    services: dict[str, GcpFunction] = field(default_factory=dict)
    executions: list[Any] = field(default_factory=list)

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

    def calls(self, service: str) -> int:
        return sum(self.services[f"{NAME}-{service}"].invocations().values())


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the units of the services; return the folder in which each is unpacked."""
    from infra.package.build import build

    folder = tmp_path_factory.mktemp("packages")
    for unit in ("serve", "data"):
        built = build(unit, "gcp", "x86_64", folder, lambda line: None)  # type: ignore[arg-type]
        with zipfile.ZipFile(built.package.path) as packed:
            packed.extractall(folder / unit)
    return folder


@pytest.fixture(scope="module")
def stack(
    emulators_folder: Path, pulumi_folder: Path, packages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Provisioned]:
    folder = tmp_path_factory.mktemp("gcp")
    with ExitStack() as parts:
        start = parts.enter_context
        issuer = start(token_issuer())
        broker = start(emulators.pubsub(emulators_folder))
        topic = bucket = f"{NAME}-landing"
        storage = start(emulators.gcs(emulators_folder, events=broker, project=PROJECT, topic=topic, bucket=bucket))
        secrets = start(secret_manager(PROJECT))
        metrics = start(collector())
        jobs, tasks = start(cloudrun(JOB_COMMAND, project=PROJECT, region=REGION, job=f"{NAME}-job"))
        proxy = start(reverse_proxy())
        project = Project(storage.url, broker.queue_url, secrets.url)
        served = start(stand_in("gcp", project.kinds(), project.invokes()))
        config = {**CONFIG, "issuer": issuer.url, "packages": str(packages), "monitorEveryS": 60, "reconcileEveryS": 60}
        stacks = Stacks(folder / "stacks", options_of(config), {**project.environment, **served.environment})
        parts.callback(stacks.take_down)
        outputs = stacks.up("dev")["outputs"]

        def here(settings: str) -> str:
            """Return a stack's settings with the emulators' addresses in its URLs."""
            document = json.loads(settings)
            at = {"queues": broker.url, "jobs": tasks.url, "secrets": secrets.url}
            ports = {name: f"{document[name]}?endpoint={url}" for name, url in at.items()}
            stores = {name: f"{url}?endpoint={storage.url}" for name, url in document["stores"].items()}
            variables = {"metrics": f"cloudmonitoring://?endpoint={metrics.url}", "stores": stores}
            return json.dumps({**document, **ports, **variables})

        provisioned = Provisioned(issuer, proxy.url, here(outputs["settings"]), executions=jobs.executions)
        (job,) = served.kinds["gcp:cloudrunv2/job:Job"].existing.values()
        (container,) = job["template"]["template"]["containers"]
        given = {each["name"]: each["value"] for each in container["envs"]}
        root = str(Path(__file__).resolve().parents[2])
        jobs.environment = {**ENVIRONMENT, **given, SETTINGS: here(given[SETTINGS]), "PYTHONPATH": root}

        functions = list(served.kinds["gcp:cloudfunctionsv2/function:Function"].existing.values())
        hosts = start(concurrently([hosted(each, packages, here, proxy.url) for each in functions]))
        urls: dict[str, str] = {}
        for each, host in zip(functions, hosts, strict=True):
            provisioned.services[each["name"]] = host
            urls[each["url"]] = host.url
            if each["buildConfig"]["entryPoint"] == "http":
                proxy.backends[each["serviceConfig"]["environmentVariables"][FUNCTION]] = host.url
        for subscription, url in pushes(served):
            start(push(broker, subscription, urls[url], timeout_s=600))
        schedules = served.kinds["gcp:cloudscheduler/job:Job"].existing.values()
        assert {each["schedule"] for each in schedules} == {"*/1 * * * *"}
        start(scheduling([Job(each["name"], urls[each["httpTarget"]["uri"]], 60.0) for each in schedules]))
        start(patch.dict(os.environ, ENVIRONMENT))
        yield provisioned


def hosted(given: dict[str, Any], packages: Path, here: Any, address: str) -> Any:
    """Return a context manager that runs a provisioned service from its package."""
    config = given["serviceConfig"]
    variables = config["environmentVariables"]
    function = BY_NAME[variables[FUNCTION]]
    threads = str(int(config["maxInstanceRequestConcurrency"]))
    environment = {**ENVIRONMENT, **variables, SETTINGS: here(variables[SETTINGS]), ADDRESS: address, THREADS: threads}
    target: Literal["http", "event"] = given["buildConfig"]["entryPoint"]
    root = packages / function.unit
    return gcp_host.function(
        root / "main.py", target, environment, path=(root,), timeout_s=int(config["timeoutSeconds"])
    )


def pushes(served: StandIn) -> Iterator[tuple[str, str]]:
    """Yield (subscription, push endpoint)."""
    for id_, given in served.kinds["gcp:pubsub/subscription:Subscription"].existing.items():
        if config := given.get("pushConfig"):
            yield id_, config["pushEndpoint"]


def test_the_loop_runs_on_what_was_provisioned(stack: Provisioned) -> None:
    until(
        lambda: stack.calls("monitor-event") and stack.calls("reconcile-event"), TIMEOUT_S
    )  # their schedules called them
    assert stack.ask("/v2/health/live") == 200, stack.services[f"{NAME}-infer-http"].server.output()[-3000:]
    assert stack.ask(f"/v2/models/{USECASE}/infer", body=b"{}") == 401
    assert stack.ask(f"/v2/models/{USECASE}/infer", stack.token("other:infer"), b"{}") == 403
    platform = compose(read_settings(stack.settings.encode(), "outputs"), "operator").platform
    demo = DemoStack(
        stack.url,
        platform,
        lambda subject, scopes, lifetime_s: stack.token(*scopes),
        "provisioned gcp",
        "the services' logs",
        "gcp",
    )
    try:
        result = run(demo, lambda line: None)
    except Exception as error:
        for name, service in stack.services.items():
            lines = [line for line in service.server.output().splitlines() if "error" in line.lower()]
            error.add_note("\n".join([name, *lines[-3:]])[:3000])
        raise
    assert not result.fsck.findings
    assert stack.ask(f"/v2/models/{USECASE}", stack.token(f"{USECASE}:read")) == 200
    assert {task.environment[FUNCTION] for task in stack.executions} == {"train"}
    before = stack.calls("validate-event")
    platform.landing.put_new(f"drops/{USECASE}/more.csv", b"year,month\n2013,1\n")
    until(lambda: stack.calls("validate-event") > before, TIMEOUT_S)
