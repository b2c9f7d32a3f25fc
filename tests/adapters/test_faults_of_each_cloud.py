"""Faults beside those of the other files: IAM's refusals, throttles of Pub/Sub, missing secrets."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from adapters import deadlines
from adapters.gcp.queue import PubSubQueue
from adapters.gcp.topics import Topics
from adapters.urls import open_queues, open_secrets, open_store
from localstack import emulators
from localstack.emulators import Running
from localstack.lossy_grpc import GrpcExchange, refusal
from localstack.lossy_proxy import lossy_proxy
from shared.errors import NotFound, PermissionDenied, Throttled, Unauthenticated
from tests.conformance import aws_rigs, azure_rigs, gcp_rigs
from tests.conformance.gcp_rigs import PROJECT, EmulatedTopics
from tests.conformance.rigs import SecretsRig

EXHAUSTED = 8
REGION = aws_rigs.REGION
READS = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"},
        {"Effect": "Allow", "Action": ["sqs:GetQueueUrl"], "Resource": "*"},
    ],
}
Secrets = Callable[[Callable[[str], Any]], Iterator[SecretsRig]]


@pytest.fixture(scope="module")
def aws_with_iam(emulators_folder: Path) -> Iterator[Running]:
    """Return AWS, emulated, with policies that are enforced."""
    with emulators.aws(emulators_folder, settings={"AUTH": "true"}) as running:
        yield running


def test_an_iam_refusal_names_action_and_resource(aws_with_iam: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with aws_rigs.account() as environment:
        iam, s3, sqs = (_client(service, aws_with_iam, environment) for service in ("iam", "s3", "sqs"))
        s3.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket="lake", Key="k", Body=b"1")
        sqs.create_queue(QueueName="t-queue")
        iam.create_user(UserName="reader")
        iam.put_user_policy(UserName="reader", PolicyName="reads", PolicyDocument=json.dumps(READS))
        key = iam.create_access_key(UserName="reader")["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        store = open_store(f"s3://lake?region={REGION}&endpoint={aws_with_iam.url}")
        queue = open_queues(f"sqs://{REGION}/t-?endpoint={aws_with_iam.url}", ["queue"])["queue"]
        secrets = open_secrets(f"secretsmanager://{REGION}/t/?endpoint={aws_with_iam.url}")
        assert store.get("k").body == b"1"
        assert [info.key for info in store.list()] == ["k"]
        refused: list[tuple[Callable[[], object], str]] = [
            (lambda: store.put("k", b"2"), "s3:PutObject in the bucket 'lake' on k"),
            (lambda: store.put_new("n", b"2"), "s3:PutObject in the bucket 'lake' on n"),
            (lambda: store.delete("k"), "s3:DeleteObject in the bucket 'lake' on k"),
            (lambda: queue.send(b"1"), "sqs:SendMessage on t-queue"),
            (lambda: queue.receive(1, 2.0), "sqs:ReceiveMessage on t-queue"),
            (lambda: secrets.get("signing-key"), "secretsmanager:GetSecretValue on signing-key"),
        ]
        for operation, says in refused:
            with pytest.raises(PermissionDenied, match=says):
                operation()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(Unauthenticated, match="renew them"):
            open_store(f"s3://lake?region={REGION}&endpoint={aws_with_iam.url}").get("k")


def test_ten_throttles_of_pubsub_in_a_row_are_retried(
    pubsub_emulator: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 0.01)
    topics = EmulatedTopics(pubsub_emulator)
    with lossy_proxy(pubsub_emulator.host_port, exchange=GrpcExchange) as proxy:
        queue = PubSubQueue(Topics(PROJECT, topics.prefix, f"http://{proxy.host_port}"), "queue")
        proxy.reply(refusal(EXHAUSTED, "quota"), 10)
        queue.send(b"1")
        assert proxy.attempts == 11
        proxy.reply(refusal(EXHAUSTED, "quota"), 10)
        queue.send_many([b"2", b"3"])
        assert sorted(topics.bodies()) == [b"1", b"2", b"3"]
        monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)
        monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)
        proxy.reply(refusal(EXHAUSTED, "quota"), 10)
        with pytest.raises(Throttled):
            queue.send(b"4")
    assert sorted(topics.bodies()) == [b"1", b"2", b"3"]


@pytest.mark.emulator_by_name
@pytest.mark.parametrize(
    ("secrets", "command"),
    [
        (aws_rigs.secrets_manager, r"aws secretsmanager create-secret --name t/signing-key"),
        (aws_rigs.parameters, r"aws ssm put-parameter --name /t/signing-key"),
        (azure_rigs.key_vault, r"az keyvault secret set --vault-name lake --name t-signing-key"),
        (gcp_rigs.secret_manager, r"gcloud secrets create team-signing-key --project=conformance"),
    ],
    ids=["aws", "aws-ssm", "azure", "gcp"],
)
def test_a_missing_secret_is_named_with_the_command_that_creates_it(
    request: pytest.FixtureRequest, secrets: Secrets, command: str
) -> None:
    with contextmanager(secrets)(request.getfixturevalue) as rig, pytest.raises(NotFound, match=command) as caught:
        rig.secrets.get("signing-key")
    assert caught.value.resource == "signing-key"


def _client(service: Any, running: Running, environment: dict[str, str]) -> Any:
    """Return a client of the account's owner."""
    return boto3.session.Session().client(
        service,
        region_name=REGION,
        endpoint_url=running.url,
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
