"""The statements of a function's role on AWS, with the conditions that narrow them, against literals."""

import json
from typing import Any

import pytest

from infra.aws_policies import TASKS, Places, assumed_by, statements_of
from shared.topology import BY_NAME, FUNCTIONS, Function, queue_names
from tests.infra.policies import AWS, breaches
from tests.infra.stand_in.base import Planned

ACCOUNT = "eu-west-1:111122223333"
STORES: Any = ("landing", "system", "capture")
PLACES = Places(
    buckets={store: f"arn:aws:s3:::harbour-{store}" for store in STORES},
    queues={name: f"arn:aws:sqs:{ACCOUNT}:harbour-{name}" for name in queue_names()},
    secrets={"signing-key": f"arn:aws:secretsmanager:{ACCOUNT}:secret:signing-key"},
    definitions={name: f"arn:aws:ecs:{ACCOUNT}:task-definition/{name}" for name in ("train", "validate")},
    cluster=f"arn:aws:ecs:{ACCOUNT}:cluster/harbour",
    job_roles={name: [f"arn:aws:iam::111122223333:role/{name}"] for name in ("train", "validate")},
)
LOG = f"arn:aws:logs:{ACCOUNT}:log-group:/harbour"


def statements(function: str) -> list[dict[str, Any]]:
    return statements_of(BY_NAME[function], PLACES, LOG, called=True)


def allowed(function: str, action: str) -> list[dict[str, Any]]:
    """Return the statements that allow an action, without their ids."""
    found = (each for each in statements(function) if action in each["Action"])
    return [{key: value for key, value in each.items() if key not in ("Sid", "Effect", "Action")} for each in found]


def test_objects_are_created_with_if_none_match_only_and_hints_are_replaced() -> None:
    created = {
        "arn:aws:s3:::harbour-system/blobs/sha256/*/*",
        "arn:aws:s3:::harbour-system/edges/*/*/*",
        "arn:aws:s3:::harbour-system/events/*/*/*.json",
        "arn:aws:s3:::harbour-system/intents/*/*/*.json",
        "arn:aws:s3:::harbour-system/models/*/*.json",
        "arn:aws:s3:::harbour-system/runs/*/*/refusal.json",
    }
    alone, in_parts, replaced = allowed("register", "s3:PutObject")
    assert alone["Condition"] == {"Null": {"s3:if-none-match": "false"}}
    assert in_parts["Condition"] == {"Bool": {"s3:ObjectCreationOperation": "false"}}
    assert set(alone["Resource"]) == set(in_parts["Resource"]) == created
    assert replaced == {"Resource": ["arn:aws:s3:::harbour-system/hints/*/*.json"]}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_only_hints_are_written_without_a_condition(function: Function) -> None:
    for each in allowed(function.name, "s3:PutObject"):
        if "Condition" not in each:
            assert all("/hints/" in resource for resource in each["Resource"])


def test_a_bucket_is_listed_by_the_prefixes_that_are_read() -> None:
    assert allowed("collect", "s3:ListBucket") == [
        {
            "Resource": ["arn:aws:s3:::harbour-capture"],
            "Condition": {"StringLikeIfExists": {"s3:prefix": ["payloads/*", "predictions/*"]}},
        }
    ]


def test_a_job_is_submitted_on_the_stacks_cluster_with_its_own_roles_only() -> None:
    assert allowed("trigger", "ecs:RunTask") == [
        {
            "Resource": [f"arn:aws:ecs:{ACCOUNT}:task-definition/train:*"],
            "Condition": {"ArnEquals": {"ecs:cluster": f"arn:aws:ecs:{ACCOUNT}:cluster/harbour"}},
        }
    ]
    assert allowed("trigger", "iam:PassRole") == [
        {
            "Resource": ["arn:aws:iam::111122223333:role/train"],
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        }
    ]
    assert allowed("register", "ecs:RunTask") == allowed("register", "iam:PassRole") == []


def test_a_role_is_assumed_by_its_service_only() -> None:
    (statement,) = assumed_by(TASKS)["Statement"]
    assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}


def test_only_who_is_called_by_a_queue_consumes_it() -> None:
    (consumed,) = allowed("validate", "sqs:ReceiveMessage")
    assert consumed == {"Resource": [f"arn:aws:sqs:{ACCOUNT}:harbour-validate"]}
    job = statements_of(BY_NAME["validate"], PLACES, LOG, called=False)
    assert not [each for each in job if "sqs:ReceiveMessage" in each["Action"]]


def test_only_the_function_that_signs_reads_the_signing_key() -> None:
    assert [each.name for each in FUNCTIONS if allowed(each.name, "secretsmanager:GetSecretValue")] == ["register"]


CONDITIONAL = ("s3:PutObject", "s3:ListBucket", "ecs:RunTask", "iam:PassRole")


def planned(*given: dict[str, Any]) -> list[Planned]:
    return [Planned("aws:iam/rolePolicy:RolePolicy", "x", {"policy": json.dumps({"Statement": given})})]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_the_policies_of_every_function_break_no_rule(function: Function) -> None:
    assert breaches(AWS, planned(*statements(function.name))) == []


@pytest.mark.parametrize("action", CONDITIONAL)
def test_a_right_without_its_condition_breaks_a_rule(action: str) -> None:
    (given,) = [each for each in statements("trigger") if each["Action"] == [action]][:1]
    assert breaches(AWS, planned(given)) == []
    bare = {key: value for key, value in given.items() if key != "Condition"}
    ((name, breach),) = breaches(AWS, planned(bare))
    assert (name, breach.startswith(f"{action} without a condition")) == ("x", True)
