"""A stack on AWS through the real engine: its life cycle, an `up` that is killed half way, and invalid input."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra import aws_functions
from infra.aws_functions import packages_of
from infra.configuration import read_configuration
from localstack import emulators
from localstack.ecs_runner import ecs
from shared.errors import ConfigurationError
from shared.topology import FUNCTIONS
from tests.infra.cloud_packages import small_packages
from tests.infra.conftest import Stacks, options_of
from tests.infra.life import NAME, Cloud, recovers_from_a_kill, runs_through_its_life
from tests.infra.policies import AWS, breaches
from tests.infra.stand_in.aws import REGION, Account
from tests.infra.stand_in.base import Planned, stand_in
from tests.infra.test_idle_costs import check_costs

CONFIG = {
    "provider": "aws",
    "name": NAME,
    "region": REGION,
    "issuer": "https://login.example.com",
    "audience": "harbour",
    "alarmAddress": "ops@example.com",
    "jobImage": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/train@sha256:" + "0" * 64,
    "tags": {"team": "tides"},
}
DATA = frozenset({"aws:s3/bucket:Bucket", "aws:secretsmanager/secret:Secret"})


@pytest.fixture(scope="module")
def backends(emulators_folder: Path, pulumi_folder: Path) -> Iterator[tuple[str, str]]:
    """Return the addresses of the emulator and of our ECS."""
    with emulators.aws(emulators_folder) as running, ecs() as tasks:
        yield running.url, tasks.url


@pytest.fixture
def account(backends: tuple[str, str], emulators_folder: Path) -> Account:
    """Return the account, emptied: all tests share it."""
    found = Account(*backends, runtime=emulators_folder, job_environment={})
    found.reset()
    return found


@pytest.fixture
def cloud(account: Account, tmp_path: Path) -> Iterator[Cloud]:
    folder = tmp_path / "dist"
    folder.mkdir()
    with stand_in("aws", account.kinds(), account.invokes()) as served:
        config = {**CONFIG, "packages": str(small_packages(folder, "aws"))}
        yield Cloud("aws", config, served, account.credentials, account.left, DATA)


@pytest.fixture
def stacks(cloud: Cloud, tmp_path: Path) -> Stacks:
    """Return stacks through the command line; the account is emptied at the next test."""
    return Stacks(tmp_path / "stacks", options_of(cloud.config), {**cloud.environment, **cloud.served.environment})


@pytest.mark.slow
def test_its_whole_life(cloud: Cloud, account: Account, tmp_path: Path) -> None:
    def spoil() -> set[str]:
        sqs = account.client("sqs")
        url = sqs.get_queue_url(QueueName=f"{NAME}-validate")["QueueUrl"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
        account.client("lambda").delete_function(FunctionName=f"{NAME}-labels")
        account.client("s3").put_bucket_versioning(
            Bucket=f"{NAME}-system", VersioningConfiguration={"Status": "Suspended"}
        )
        wider = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        account.client("iam").put_role_policy(
            RoleName=f"{NAME}-infer",
            PolicyName="grants",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [wider]}),
        )
        return {"validate", "labels", "system", "infer"}

    runs_through_its_life(cloud, tmp_path / "stacks", memory={"infer"}, watch={"stack"}, spoil=spoil)


@pytest.mark.slow
def test_an_up_that_was_killed_half_way_recovers_and_data_outlives_the_stack(
    cloud: Cloud, account: Account, stacks: Stacks
) -> None:
    recovers_from_a_kill(cloud, stacks, "aws:lambda/function:Function")
    ended = stacks.call("down", "--stack", "dev", "--json")
    assert ended.code == 0, ended.err[-3000:]
    assert all(name in ended.document["kept"] for name in (f"{NAME}-landing", f"{NAME}-signing-key"))
    assert account.left() == {
        "s3": [f"{NAME}-capture", f"{NAME}-landing", f"{NAME}-system"],
        "secrets": [f"{NAME}-signing-key"],
    }


def test_the_plan_breaks_no_policy_and_the_state_has_no_secret(cloud: Cloud, account: Account, tmp_path: Path) -> None:
    with cloud.environ(tmp_path / "stacks"):
        stack = cloud.stack()
        stack.up()
        state = json.dumps(stack.export())
        secret = account.client("secretsmanager").get_secret_value(SecretId=f"{NAME}-signing-key")["SecretBinary"]
    planned = list(cloud.served.planned.values())
    assert breaches(AWS, planned) == []
    check_costs("aws", planned)
    assert secret.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert secret.splitlines()[1].decode() not in state
    assert cloud.served.configured["defaultTags"] == {"tags": {"tidegate:stack": NAME, "team": "tides"}}
    protected = {each["type"] for each in json.loads(state)["resources"] if each.get("protect")}
    assert protected >= DATA


@pytest.mark.parametrize(
    ("token", "name", "inputs"),
    [
        ("aws:iam/rolePolicy:RolePolicy", "x", {"policy": {"Action": "s3:GetObject", "Resource": "*"}}),
        ("aws:iam/rolePolicy:RolePolicy", "x", {"policy": {"Action": "s3:*", "Resource": "arn:aws:s3:::a/b"}}),
        ("aws:iam/role:Role", "x", {"assumeRolePolicy": {"Action": "sts:AssumeRole", "Principal": "*"}}),
        ("aws:s3/bucket:Bucket", "x", {"acl": "public-read"}),
        ("aws:s3/bucket:Bucket", "x", {}),
        ("aws:sqs/queue:Queue", "x", {"redrivePolicy": "{}"}),
        ("aws:cloudwatch/logGroup:LogGroup", "x", {"name": "x"}),
        ("aws:apigatewayv2/route:Route", "x", {"routeKey": "GET /metrics", "authorizationType": "NONE"}),
        ("aws:ec2/securityGroup:SecurityGroup", "x", {"ingress": [{"fromPort": 22}]}),
    ],
    ids=["resource", "action", "principal", "public", "bare bucket", "bare queue", "log", "route", "ingress"],
)
def test_each_policy_finds_its_breach(token: str, name: str, inputs: dict[str, Any]) -> None:
    for key in ("policy", "assumeRolePolicy"):
        if key in inputs:
            inputs = {**inputs, key: json.dumps({"Statement": [{"Effect": "Allow", **inputs[key]}]})}
    assert breaches(AWS, [Planned(token, name, inputs)])


@pytest.mark.parametrize(
    ("token", "inputs", "message"),
    [
        (
            "aws:sqs/queue:Queue",
            {"name": "x", "visibilityTimeoutSecond": 1},
            "visibilityTimeoutSecond is not a property",
        ),
        ("aws:iam/role:Role", {"name": "x"}, "assumeRolePolicy is missing"),
        ("aws:sqs/queue:Queue", {"visibilityTimeoutSeconds": "soon"}, "str 'soon', which is not allowed"),
        ("aws:sqs/queue:Kueue", {"name": "x"}, "is not known to the stand-in"),
        ("aws:ec2/natGateway:NatGateway", {"subnetId": "x"}, "is not known to the stand-in"),
    ],
    ids=["misspelt", "missing", "wrong type", "no such type", "costs while idle"],
)
def test_invalid_programs_fail_in_the_same_harness(
    stacks: Stacks, token: str, inputs: dict[str, Any], message: str
) -> None:
    ended = stacks.canary(token, inputs)
    assert (ended.code, message in ended.err) == (3, True), ended.err[-2000:]


@pytest.mark.slow
def test_an_existing_bucket_is_reported_and_the_state_stays_usable(
    cloud: Cloud, account: Account, stacks: Stacks
) -> None:
    account.client("s3").create_bucket(
        Bucket=f"{NAME}-landing", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    ended = stacks.call("up", "--stack", "dev", *stacks.options())
    assert ended.code == 3, ended.err[-2000:]
    last = ended.err.strip().splitlines()[-1]
    assert "BucketAlready" in last
    assert "choose another tidegate:name" in last
    account.client("s3").delete_bucket(Bucket=f"{NAME}-landing")
    assert stacks.up("dev")["outputs"]["landing"].startswith(f"s3://{NAME}-landing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("kmsKey=alias/x",), "tidegate:kmsKey is 'alias/x': write the key's ARN"),
        (('ports={"queues":"sqs://eu-west-1/h-"}',), "tidegate:ports.queues"),
        (('ports={"landing":"az://landing?account=a"}',), "tidegate:ports.landing"),
        (("packages=/nowhere",), "there is no package /nowhere/"),
        (("jobImage=train:latest",), "tidegate:jobImage"),
        (("region=",), "tidegate:region is missing"),
        (
            ('functionImages={"dta":"x"}',),
            "functionImages names 'dta', which is not a unit of functions, did",
        ),
        (('functionImages={"data":"data:latest"}',), "tidegate:functionImages.data is 'data:latest' on aws: write an"),
    ],
    ids=["key", "queues", "landing", "package", "image", "region", "unit", "tag"],
)
def test_an_invalid_configuration_is_refused_before_anything_is_created(
    stacks: Stacks, account: Account, changes: tuple[str, ...], message: str
) -> None:
    ended = stacks.call("up", "--stack", "dev", *stacks.options(*changes))
    assert message in ended.err.strip().splitlines()[-1]
    assert ended.code == 2, ended.err[-2000:]
    assert account.left() == {}


def test_a_unit_of_which_an_image_is_given_needs_no_zip(cloud: Cloud, account: Account, tmp_path: Path) -> None:
    image = f"111122223333.dkr.ecr.{REGION}.amazonaws.com/tidegate/data@sha256:" + "1" * 64
    data = {function.name for function in FUNCTIONS if function.unit == "data"}
    with cloud.environ(tmp_path / "stacks"):
        cloud.stack().up()
        for file in Path(cloud.config["packages"]).glob("data-*"):
            file.unlink()
        done = cloud.done(lambda: cloud.stack(functionImages={"data": image}).up())
        assert cloud.stack(functionImages={"data": image}).preview().none
    assert {name for what, name in done if what == "create"} >= data  # a zip cannot become an image: it is replaced
    for function in FUNCTIONS:
        if not function.job:
            seen = account.client("lambda").get_function(FunctionName=f"{NAME}-{function.name}")
            assert seen["Configuration"]["PackageType"] == ("Image" if function.name in data else "Zip")
            assert seen["Code"].get("ImageUri") == (image if function.name in data else None)
    planned = list(cloud.served.planned.values())
    assert breaches(AWS, planned) == []
    deleted = {type_ for what, type_, _ in cloud.served.log if what == "delete"}
    assert not deleted & DATA


def test_a_unit_that_fits_no_zip_is_refused_with_what_to_do(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = read_configuration(cloud.config, NAME)
    assert set(packages_of(configuration, FUNCTIONS)) == {"serve", "data"}
    monkeypatch.setattr(aws_functions, "MAX_UNPACKED_BYTES", 10)
    with pytest.raises(ConfigurationError, match="make an image of it and set tidegate:functionImages"):
        packages_of(configuration, FUNCTIONS)


def test_missing_credentials_are_reported_with_the_remedy(stacks: Stacks) -> None:
    given = {name: value for name, value in stacks.given.items() if not name.startswith("AWS_")}
    bare = replace(stacks, given={**given, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nowhere"})
    ended = bare.call("up", "--stack", "dev", *bare.options())
    assert ended.code == 3, ended.err[-2000:]
    assert "credentials" in ended.err.strip().splitlines()[-1]


def test_ports_of_the_configuration_replace_the_stacks_own(cloud: Cloud, tmp_path: Path) -> None:
    ports = {
        "system": "s3://lake/system?region=eu-west-1",
        "capture": "az://capture?account=lake",
        "jobs": "cloudrun://project/europe-west1/job",
        "secrets": "ssm://eu-west-1/harbour/",
    }
    with cloud.environ(tmp_path / "stacks"):
        stack = cloud.stack(ports=ports, placement={"labels": "house"})
        stack.preview()
    planned = list(cloud.served.planned.values())
    kinds = {each.type for each in planned}
    assert "aws:ecs/cluster:Cluster" not in kinds
    assert "aws:secretsmanager/secret:Secret" not in kinds
    assert [each.name for each in planned if each.type == "aws:s3/bucket:Bucket"] == ["landing"]
    assert "labels" not in {each.name for each in planned if each.type == "aws:lambda/function:Function"}
    assert breaches(AWS, planned) == []
