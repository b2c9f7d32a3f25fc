"""A stack on Google Cloud through the real engine: its life cycle, an `up` that fails half way, and invalid input."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localstack import emulators
from localstack.secret_manager import SecretManager, secret_manager
from tests.infra.cloud_packages import small_packages
from tests.infra.conftest import Stacks, options_of
from tests.infra.life import NAME, Cloud, recovers_from_a_kill, runs_through_its_life
from tests.infra.policies import GCP, breaches
from tests.infra.stand_in.base import Planned, Refused, stand_in
from tests.infra.stand_in.gcp import PROJECT, REGION, Project, ask
from tests.infra.test_idle_costs import check_costs

CONFIG = {
    "provider": "gcp",
    "name": NAME,
    "region": REGION,
    "project": PROJECT,
    "issuer": "https://login.example.com",
    "audience": "harbour",
    "alarmAddress": "ops@example.com",
    "jobImage": "registry.example.com/train@sha256:" + "0" * 64,
    "tags": {"team": "tides"},
}
DATA = frozenset({"gcp:storage/bucket:Bucket", "gcp:secretmanager/secret:Secret"})


@pytest.fixture
def secrets() -> Iterator[SecretManager]:
    with secret_manager(PROJECT) as running:
        yield running


@pytest.fixture
def project(emulators_folder: Path, pulumi_folder: Path, secrets: SecretManager) -> Iterator[Project]:
    with emulators.gcs(emulators_folder) as storage, emulators.pubsub(emulators_folder) as broker:
        yield Project(storage.url, broker.queue_url, secrets.url)


@pytest.fixture
def cloud(project: Project, tmp_path: Path) -> Iterator[Cloud]:
    folder = tmp_path / "dist"
    folder.mkdir()
    with stand_in("gcp", project.kinds(), project.invokes()) as served:
        config = {**CONFIG, "packages": str(small_packages(folder, "gcp"))}
        yield Cloud("gcp", config, served, project.environment, project.left, DATA)


@pytest.fixture
def stacks(cloud: Cloud, tmp_path: Path) -> Stacks:
    return Stacks(tmp_path / "stacks", options_of(cloud.config), {**cloud.environment, **cloud.served.environment})


@pytest.mark.slow
def test_its_whole_life(cloud: Cloud, project: Project, tmp_path: Path) -> None:
    def spoil() -> set[str]:
        dead = f"projects/{PROJECT}/subscriptions/{NAME}-validate-dead"
        ask(f"{project.broker}/v1/{dead}", method="DELETE")
        functions = cloud.served.kinds["gcp:cloudfunctionsv2/function:Function"]
        (gone,) = (id_ for id_, given in functions.existing.items() if given["name"] == f"{NAME}-labels-http")
        del functions.existing[gone]
        members = cloud.served.kinds["gcp:storage/bucketIAMMember:BucketIAMMember"]
        wider = next(id_ for id_ in members.existing if id_.startswith("infer-system-read-0"))
        members.existing[wider]["role"] = "roles/storage.admin"
        return {"validate-dead", "labels-http", "infer-system-read-0"}

    runs_through_its_life(cloud, tmp_path / "stacks", memory={"infer-http"}, watch=set(), spoil=spoil)


def test_the_plan_breaks_no_policy_and_the_state_has_no_secret(
    cloud: Cloud, secrets: SecretManager, tmp_path: Path
) -> None:
    with cloud.environ(tmp_path / "stacks"):
        stack = cloud.stack()
        stack.up()
        state = json.dumps(stack.export())
    planned = list(cloud.served.planned.values())
    assert breaches(GCP, planned) == []
    check_costs("gcp", planned)
    secret = secrets._values[f"{NAME}-signing-key"]
    assert secret.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert secret.splitlines()[1].decode() not in state
    assert cloud.served.configured["defaultLabels"] == {"tidegate-stack": NAME, "team": "tides"}
    assert {each["type"] for each in json.loads(state)["resources"] if each.get("protect")} >= DATA
    (secret_member,) = (each for each in planned if each.type.endswith(":SecretIamMember"))
    assert secret_member.name == "register-signing-key"
    (config,) = (each for each in planned if each.type.endswith(":ApiConfig"))
    document = json.loads(base64.b64decode(config.inputs["openapiDocuments"][0]["document"]["contents"]))
    infer = document["paths"]["/v2/models/{usecase}/infer"]["post"]
    assert infer["security"] == [{"tokens": []}]
    assert infer["x-google-backend"]["address"].startswith(f"https://{NAME}-infer-http-")


@pytest.mark.parametrize(
    ("token", "name", "inputs"),
    [
        ("gcp:storage/bucket:Bucket", "x", {"name": "x"}),
        ("gcp:cloudrunv2/serviceIamMember:ServiceIamMember", "x", {"member": "allUsers", "role": "roles/run.invoker"}),
        ("gcp:projects/iAMMember:IAMMember", "x", {"member": "serviceAccount:x", "role": "roles/editor"}),
        ("gcp:storage/bucketIAMMember:BucketIAMMember", "x", {"member": "serviceAccount:x", "role": "projects/x"}),
        ("gcp:projects/iAMCustomRole:IAMCustomRole", "x", {"permissions": ["storage.objects.*"]}),
        ("gcp:pubsub/subscription:Subscription", "x", {"expirationPolicy": {"ttl": ""}}),
        ("gcp:pubsub/subscription:Subscription", "x-dead", {"pushConfig": {"pushEndpoint": "https://x"}}),
        ("gcp:cloudfunctionsv2/function:Function", "x-event", {"serviceConfig": {"serviceAccountEmail": "x"}}),
        (
            "gcp:cloudfunctionsv2/function:Function",
            "x-http",
            {"serviceConfig": {"serviceAccountEmail": "x", "minInstanceCount": 1}},
        ),
        (
            "gcp:apigateway/apiConfig:ApiConfig",
            "x",
            {
                "openapiDocuments": [
                    {"document": {"contents": base64.b64encode(b'{"paths":{"/metrics":{"get":{}}}}').decode()}}
                ]
            },
        ),
    ],
    ids=["bucket", "everybody", "editor", "whole bucket", "pattern", "dead", "unsigned", "world", "idle", "route"],
)
def test_each_policy_finds_its_breach(token: str, name: str, inputs: dict[str, Any]) -> None:
    assert breaches(GCP, [Planned(token, name, inputs)])


def test_invalid_programs_fail_in_the_same_harness(stacks: Stacks) -> None:
    for token, inputs, message in (
        ("gcp:pubsub/topic:Topic", {"nam": "x"}, "nam is not a property"),
        ("gcp:storage/bucket:Bucket", {"name": "x"}, "location is missing"),
        ("gcp:compute/instance:Instance", {"machineType": "e2-micro"}, "is not known to the stand-in"),
    ):
        ended = stacks.canary(token, inputs)
        assert (ended.code, message in ended.err) == (3, True), ended.err[-2000:]


@pytest.mark.slow
def test_an_up_that_was_killed_half_way_recovers(cloud: Cloud, stacks: Stacks) -> None:
    recovers_from_a_kill(cloud, stacks, "gcp:apigateway/gateway:Gateway")


@pytest.mark.slow
def test_an_up_that_fails_half_way_is_reported_and_can_be_repeated(cloud: Cloud, stacks: Stacks) -> None:
    def fail(token: str, name: str) -> None:
        if name == "infer-http":
            raise Refused("PERMISSION_DENIED: Cloud Functions API has not been used in this project before")

    cloud.served.before_create = fail
    ended = stacks.call("up", "--stack", "dev", *stacks.options())
    assert ended.code == 3
    last = ended.err.strip().splitlines()[-1]
    assert "PERMISSION_DENIED" in last
    assert "the account that is logged in lacks the right" in last
    cloud.served.before_create = None
    made = stacks.up("dev")
    assert made["outputs"]["url"].startswith("https://")
    assert stacks.preview("dev")["none"]
    ended = stacks.call("down", "--stack", "dev", "--json")
    assert ended.code == 0, ended.err[-2000:]
    assert cloud.left() == {"buckets": [f"{NAME}-capture", f"{NAME}-landing", f"{NAME}-system"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("name=harbour-of-the-whole-town",), "tidegate:name is"),
        (("name=a-name-of-21-letters-x",), "at most 20 characters"),
        (('tags={"Team":"x"}',), "tidegate:tags has Team"),
        (("project=",), "tidegate:project is missing"),
        (('ports={"queues":"sqs://eu-west-1/h-"}',), "tidegate:ports.queues"),
        (('ports={"landing":"s3://x"}',), "tidegate:ports.landing"),
        (("packages=/nowhere",), "there is no package /nowhere/"),
    ],
    ids=["name", "long name", "tags", "project", "queues", "landing", "package"],
)
def test_an_invalid_configuration_is_refused_before_anything_is_created(
    stacks: Stacks, project: Project, changes: tuple[str, ...], message: str
) -> None:
    ended = stacks.call("preview", "--stack", "dev", *stacks.options(*changes))
    assert message in ended.err.strip().splitlines()[-1]
    assert ended.code == 2, ended.err[-2000:]
    assert project.left() == {}
