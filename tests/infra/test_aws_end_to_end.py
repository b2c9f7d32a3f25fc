"""The loop on a provisioned stack on the emulated AWS, with IAM enforced and from the packages alone."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pytest

from cli.demo.loop import run
from cli.demo.stack import DemoStack
from functions.runtimes.compose import compose
from infra import plan
from localstack import emulators
from localstack.ecs_runner import Ecs, ecs
from localstack.stacks.emulated import NO_LOCAL, ROOT
from localstack.token_issuer import TokenIssuer, token_issuer
from shared import layout
from shared.settings import read_settings
from shared.topology import BY_NAME, FUNCTIONS, queue_names
from tests.infra.conftest import Stacks
from tests.infra.life import NAME
from tests.infra.probe import Try, code, tried
from tests.infra.stand_in.aws import ACCOUNT, Account
from tests.infra.stand_in.base import stand_in
from tests.infra.test_aws_stack import CONFIG
from tests.waiting import until

pytestmark = pytest.mark.slow

TIMEOUT_S = 120.0
USECASE = "late-arrivals"


@dataclass
class Provisioned:
    """The stack, as an operator sees it."""

    account: Account
    tasks: Ecs
    issuer: TokenIssuer
    url: str
    settings: str
    runtime: Path

    def token(self, *scopes: str) -> str:
        return self.issuer.issue("demo", CONFIG["audience"], scopes)  # type: ignore[arg-type]

    def ask(self, path: str, token: str = "", body: bytes | None = None) -> int:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url + path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def failures(self) -> str:
        """Return the last lines with an error of the functions' logs."""
        logs, found = self.account.client("logs"), []
        for function in FUNCTIONS:
            if not function.job:
                group = f"/aws/lambda/{NAME}-{function.name}"
                events = logs.filter_log_events(logGroupName=group, filterPattern="error")["events"]
                found += [f"{function.name}: {event['message'][:1500]}" for event in events[-5:]]
        return "\n".join(found)

    def calls(self, function: str) -> int:
        """Return a function's number of starts in Lambda's log."""
        logs = self.account.client("logs")
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{NAME}-{function}", filterPattern='"START RequestId"'
        )
        return sum(len(page["events"]) for page in pages)


@pytest.fixture(scope="module")
def stack(
    emulators_folder: Path,
    hosts_folder: Path,
    pulumi_folder: Path,
    aws_packages: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Provisioned]:
    folder = tmp_path_factory.mktemp("aws")
    with (
        token_issuer() as issuer,
        emulators.aws(emulators_folder, settings={"AUTH": "true"}) as running,
        ecs() as tasks,
    ):
        runtime = hosts_folder / "lambda/python"
        account = Account(running.url, tasks.url, runtime=runtime, job_environment={})
        path = os.pathsep.join((str(NO_LOCAL), str(ROOT)))
        account.job_environment = {**account.credentials, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        with stand_in("aws", account.kinds(), account.invokes()) as served, patch.dict(os.environ):
            os.environ.pop("AWS_PROFILE", None)
            config = {
                **CONFIG,
                "issuer": issuer.url,
                "packages": str(aws_packages),
                "monitorEveryS": 60,
                "reconcileEveryS": 60,
            }
            common = tuple(
                f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in config.items()
            )
            stacks = Stacks(folder / "stacks", common, {**account.credentials, **served.environment})
            outputs = stacks.up("dev")["outputs"]
            os.environ.update(account.credentials)
            yield Provisioned(account, tasks, issuer, outputs["url"], account.here(outputs["settings"]), runtime)
            ended = stacks.call("down", "--stack", "dev")
            assert ended.code == 0, ended.err[-2500:]


def test_the_loop_runs_on_what_was_provisioned(stack: Provisioned) -> None:
    until(lambda: stack.calls("monitor") and stack.calls("reconcile"), TIMEOUT_S)  # only their schedules called them
    assert stack.ask("/v2/health/live") == 200
    assert stack.ask(f"/v2/models/{USECASE}/infer", body=b"{}") == 401
    assert stack.ask(f"/v2/models/{USECASE}/infer", "x.y.z", b"{}") == 401
    assert stack.ask(f"/v2/models/{USECASE}/infer", stack.token("other:infer"), b"{}") == 403
    platform = compose(read_settings(stack.settings.encode(), "outputs"), "operator").platform
    demo = DemoStack(
        stack.url,
        platform,
        lambda subject, scopes, lifetime_s: stack.token(*scopes),
        "provisioned aws",
        "the emulator's log",
        "aws",
    )
    try:
        result = run(demo, lambda line: None)
    except Exception as error:
        error.add_note(stack.failures())
        raise
    assert not result.fsck.findings
    assert stack.ask(f"/v2/models/{USECASE}", stack.token(f"{USECASE}:read")) == 200
    definitions = {request["taskDefinition"] for request in stack.tasks.requests.values()}
    assert definitions == {f"{NAME}-train"}
    before = stack.calls("validate")
    platform.landing.put_new(f"drops/{USECASE}/more.csv", b"year,month\n2013,1\n")
    until(lambda: stack.calls("validate") > before, TIMEOUT_S)


def tries_of(function: str, stack: Provisioned) -> tuple[list[Try], list[Try]]:
    """Return the operations that a function's role must allow, and those that it must deny."""
    granted = {(each.store, each.family) for each in plan.access(BY_NAME[function])}
    allowed: list[Try] = []
    denied: list[Try] = []
    for family in layout.FAMILIES:
        bucket, key = f"{NAME}-{family.store}", family.prefix() + "/".join(["x"] * family.pattern.count("/"))
        key = family.pattern.replace("{", "").replace("}", "")
        read: Try = ("s3", "get_object", {"Bucket": bucket, "Key": key})
        write: Try = ("s3", "put_object", {"Bucket": bucket, "Key": key, "Body": "{}"})
        remove: Try = ("s3", "delete_object", {"Bucket": bucket, "Key": key})
        if (family.store, family.name) in granted:
            allowed.append(read)
        elif not any(key.startswith(prefix) for prefix in _prefixes(function, family.store)):
            denied += [read, write]
        denied.append(remove)
    sent = plan.sends_to(BY_NAME[function])
    for name in queue_names():
        url = f"{stack.account.url}/{ACCOUNT}/{NAME}-{name}"
        send: Try = ("sqs", "send_message", {"QueueUrl": url, "MessageBody": "{}"})
        if name not in sent:
            denied.append(send)
    secret: Try = ("secretsmanager", "get_secret_value", {"SecretId": f"{NAME}-signing-key"})
    (allowed if BY_NAME[function].secrets else denied).append(secret)
    measures: Try = ("logs", "filter_log_events", {"logGroupName": f"/aws/lambda/{NAME}-infer"})
    (allowed if BY_NAME[function].measures else denied).append(measures)
    denied.append(("iam", "list_roles", {}))
    denied.append(("lambda", "delete_function", {"FunctionName": f"{NAME}-infer"}))
    return allowed, denied


def _prefixes(function: str, store: str) -> list[str]:
    return [each.prefix for each in plan.access(BY_NAME[function]) if each.store == store]


ROLES = [(function.name, function.name) for function in FUNCTIONS if not function.job]
ROLES += [(function.name, f"{function.name}-job") for function in plan.jobs()]


@pytest.mark.parametrize(("function", "role"), ROLES, ids=[role for _, role in ROLES])
def test_a_role_has_exactly_its_functions_grants(stack: Provisioned, function: str, role: str) -> None:
    allowed, denied = tries_of(function, stack)
    probe = code(stack.account.url, stack.runtime)
    arn = f"arn:aws:iam::{ACCOUNT}:role/{NAME}-{role}"
    found = tried(stack.account.client("lambda"), probe, arn, [*allowed, *denied])
    outcomes = list(zip([*allowed, *denied], found, strict=True))
    # An absent object that may be read is not found, not refused.
    assert [each for each in outcomes[: len(allowed)] if each[1] not in ("allowed", "NoSuchKey")] == []
    assert [each for each in outcomes[len(allowed) :] if each[1] != "denied"] == []


def test_the_probe_finds_a_role_with_more_rights(stack: Provisioned) -> None:
    iam = stack.account.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    wide = {"Effect": "Allow", "Action": ["s3:*", "secretsmanager:*"], "Resource": "*"}
    made = iam.create_role(
        RoleName="canary", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    iam.put_role_policy(
        RoleName="canary", PolicyName="wide", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [wide]})
    )
    try:
        _, denied = tries_of("labels", stack)
        probe = code(stack.account.url, stack.runtime)
        found = tried(stack.account.client("lambda"), probe, made["Role"]["Arn"], denied)
        assert "allowed" in found
        assert "denied" in found, "no right beyond S3 and secrets"
    finally:
        iam.delete_role_policy(RoleName="canary", PolicyName="wide")
        iam.delete_role(RoleName="canary")
