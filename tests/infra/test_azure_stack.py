"""A stack on Azure through the real engine: its life cycle, an `up` that fails half way, and invalid input."""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infra.azure_stores import condition_of
from infra.azure_upload import BLOB
from localstack import emulators
from localstack.emulators import AZURE_KEY
from localstack.key_vault import RESOURCE, Vault, serving
from localstack.managed_identity import managed_identity
from tests.infra.cloud_packages import small_packages
from tests.infra.conftest import Stacks, options_of
from tests.infra.life import NAME, Cloud, recovers_from_a_kill, runs_through_its_life
from tests.infra.policies import AZURE, breaches
from tests.infra.stand_in.azure import REGION, Subscription
from tests.infra.stand_in.base import Planned, Refused, stand_in
from tests.infra.test_idle_costs import check_costs

CONFIG = {
    "provider": "azure",
    "name": NAME,
    "region": REGION,
    "issuer": "https://login.example.com",
    "audience": "harbour",
    "alarmAddress": "ops@example.com",
    "jobImage": "registry.example.com/train@sha256:" + "0" * 64,
    "tags": {"team": "tides"},
}
ACCOUNTS = (NAME, f"{NAME}host")
DATA = frozenset(
    {
        "azure-native:resources:ResourceGroup",
        "azure-native:storage:StorageAccount",
        "azure-native:storage:BlobContainer",
        "azure-native:keyvault:Vault",
    }
)


@pytest.fixture
def vault() -> Iterator[Vault]:
    with serving(Vault()) as running:
        yield running


@pytest.fixture
def cloud(emulators_folder: Path, pulumi_folder: Path, vault: Vault, tmp_path: Path) -> Iterator[Cloud]:
    folder = tmp_path / "dist"
    folder.mkdir()
    with ExitStack() as running:
        storage = running.enter_context(emulators.azure(emulators_folder, accounts=ACCOUNTS))
        identity = running.enter_context(managed_identity({RESOURCE: vault.token}))
        subscription = Subscription(storage, vault.url)
        served = running.enter_context(stand_in("azure-native", subscription.kinds(), subscription.invokes()))
        environment = {**vault.environment, **identity.environment, "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}
        config = {**CONFIG, "packages": str(small_packages(folder, "azure"))}
        yield Cloud("azure", config, served, environment, lambda: subscription.left(*ACCOUNTS), DATA, subscription)


@pytest.fixture
def stacks(cloud: Cloud, tmp_path: Path) -> Stacks:
    return Stacks(tmp_path / "stacks", options_of(cloud.config), {**cloud.environment, **cloud.served.environment})


@pytest.mark.slow
def test_its_whole_life(cloud: Cloud, tmp_path: Path) -> None:
    def spoil() -> set[str]:
        cloud.backend.queues(NAME).delete_queue(f"{NAME}-validate-poison")
        sites = cloud.served.kinds["azure-native:web:WebApp"]
        (gone,) = (id_ for id_, given in sites.existing.items() if given["name"] == f"{NAME}-labels")
        del sites.existing[gone]
        return {"validate-poison", "labels"}

    # infer's app and plan stay; the app's instance size changes.
    runs_through_its_life(cloud, tmp_path / "stacks", memory={"infer"}, watch=set(), spoil=spoil)


def test_the_plan_breaks_no_policy_and_the_state_has_no_secret(cloud: Cloud, vault: Vault, tmp_path: Path) -> None:
    with cloud.environ(tmp_path / "stacks"):
        stack = cloud.stack()
        stack.up()
        state = json.dumps(stack.export())
    planned = list(cloud.served.planned.values())
    assert breaches(AZURE, planned) == []
    check_costs("azure", planned)
    secret = vault._texts["signing-key"]
    assert secret.startswith("-----BEGIN PRIVATE KEY-----")
    assert secret.splitlines()[1] not in state
    assert AZURE_KEY not in state
    assert {each["type"] for each in json.loads(state)["resources"] if each.get("protect")} >= DATA
    (reads,) = (each for each in planned if each.name.endswith("-secrets"))
    assert reads.inputs["principalId"] == f"principal-of-{NAME}-register"
    infer = next(each for each in planned if each.type.endswith(":ApiOperationPolicy") and each.name == "infer")
    assert "<validate-jwt" in infer.inputs["value"]
    blob = cloud.backend.blobs(f"{NAME}host").get_blob_client("code-labels", BLOB).download_blob().readall()
    with zipfile.ZipFile(io.BytesIO(blob)) as packed:
        assert {"function_app.py", "host.json"} <= set(packed.namelist())


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        ("azure-native:storage:StorageAccount", {"allowBlobPublicAccess": True}),
        ("azure-native:storage:StorageAccount", {"minimumTlsVersion": "TLS1_0"}),
        ("azure-native:storage:BlobContainer", {"publicAccess": "Blob"}),
        ("azure-native:authorization:RoleDefinition", {"permissions": [{"dataActions": ["*"]}]}),
        ("azure-native:authorization:RoleAssignment", {"scope": "/subscriptions/x", "condition": ""}),
        ("azure-native:keyvault:Vault", {"properties": {"enableRbacAuthorization": False}}),
        ("azure-native:web:WebApp", {"httpsOnly": False}),
        ("azure-native:web:AppServicePlan", {"sku": {"name": "P1v3"}}),
        ("azure-native:apimanagement:ApiManagementService", {"sku": {"name": "Developer", "capacity": 1}}),
        ("azure-native:apimanagement:ApiOperationPolicy", {"operationId": "infer", "value": "<policies />"}),
        ("azure-native:operationalinsights:Workspace", {"workspaceName": "x"}),
    ],
    ids=["public", "tls", "container", "pattern", "scope", "vault", "http", "idle", "idle api", "route", "logs"],
)
def test_each_policy_finds_its_breach(token: str, inputs: dict[str, Any]) -> None:
    assert breaches(AZURE, [Planned(token, "x", {"tags": {"tidegate-stack": "x"}, **inputs})])


def test_resources_without_tags_are_seen() -> None:
    assert breaches(AZURE, [Planned("azure-native:resources:ResourceGroup", "x", {"resourceGroupName": "x"})])


def test_conditions_name_the_action_the_paths_and_how_they_are_listed() -> None:
    blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
    text = condition_of(f"{blobs}/read", ["runs/*/*/result.json"], ["runs/"])
    assert f"@Resource[{blobs}:path] StringLike 'runs/*/*/result.json'" in text
    assert f"@Request[{blobs}:prefix] StringStartsWith 'runs/'" in text
    assert text.count("(") == text.count(")")
    added = condition_of(f"{blobs}/add/action", ["effects/*/*/*.json", "edges/*/*/*"], [])
    assert added.count("StringLike") == 2
    assert "Blob.List" not in added


def test_invalid_programs_fail_in_the_same_harness(stacks: Stacks) -> None:
    for token, inputs, message in (
        (
            "azure-native:storage:Queue",
            {"accountName": "x", "resourceGroupName": "x", "name": "x"},
            "name is not a property",
        ),
        ("azure-native:storage:StorageAccount", {"accountName": "x"}, "is missing"),
        ("azure-native:compute:VirtualMachine", {"vmName": "x"}, "is not known to the stand-in"),
    ):
        ended = stacks.canary(token, inputs)
        assert (ended.code, message in ended.err) == (3, True), ended.err[-2000:]


@pytest.mark.slow
def test_an_up_that_was_killed_half_way_recovers(cloud: Cloud, stacks: Stacks) -> None:
    recovers_from_a_kill(cloud, stacks, "azure-native:apimanagement:ApiOperationPolicy")


@pytest.mark.slow
def test_an_up_that_fails_half_way_is_reported_and_can_be_repeated(cloud: Cloud, stacks: Stacks) -> None:
    def fail(token: str, name: str) -> None:
        if token.endswith(":AppServicePlan") and name == "infer":
            raise Refused("LocationNotAvailableForResourceType: FlexConsumption is not available in westeurope")

    cloud.served.before_create = fail
    ended = stacks.call("up", "--stack", "dev", *stacks.options())
    assert ended.code == 3
    last = ended.err.strip().splitlines()[-1]
    assert "FlexConsumption is not available" in last
    assert "choose another tidegate:region" in last
    cloud.served.before_create = None
    assert stacks.up("dev")["outputs"]["url"] == f"https://{NAME}.azure-api.net"
    ended = stacks.call("down", "--stack", "dev", "--json")
    assert ended.code == 0, ended.err[-2000:]
    assert cloud.left()[f"{NAME} containers"] == ["capture", "landing", "system"]
    assert f"{NAME}host containers" not in cloud.left()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("kmsKey=x",), "tidegate:kmsKey is for AWS and Google Cloud"),
        (('ports={"queues":"sqs://eu-west-1/h-"}',), "tidegate:ports.queues"),
        (('ports={"landing":"s3://x"}',), "tidegate:ports.landing"),
        (("packages=/nowhere",), "there is no package /nowhere/"),
        (('memoryMb={"infer":8192}',), "infer needs 8192 MB"),
    ],
    ids=["key", "queues", "landing", "package", "memory"],
)
def test_an_invalid_configuration_is_refused_before_anything_is_created(
    stacks: Stacks, cloud: Cloud, changes: tuple[str, ...], message: str
) -> None:
    ended = stacks.call("preview", "--stack", "dev", *stacks.options(*changes))
    assert message in ended.err.strip().splitlines()[-1]
    assert ended.code == 2, ended.err[-2000:]
    assert cloud.left() == {}
