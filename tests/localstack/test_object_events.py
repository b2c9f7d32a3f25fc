"""A written object becomes a message on every cloud: by the emulator where it does it, else by our bridge."""

import base64
import json
from typing import Any

import boto3
import obstore
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient
from obstore.store import AzureStore

from functions.runtimes.azure import events as azure_events
from functions.runtimes.landing import landing_of
from localstack import emulators
from localstack.emulators import AWS_ACCOUNT, AZURE_ACCOUNT, AZURE_KEY
from localstack.object_events import BLOB_CREATED, ObjectEvents, Schema, as_cloudevent, object_events
from tests.waiting import until

KEYS = ("uploads/a b+c=(d).csv", "uploads/\u00e9\u20ac.csv", "uploads/100%25.csv")


class Container:
    """A new container of Azurite, and a queue for its events."""

    def __init__(self, azurite: emulators.Running, name: str) -> None:
        account = f"{azurite.url}/{AZURE_ACCOUNT}"
        BlobServiceClient(account, credential=AZURE_KEY).create_container(name)
        self.store = AzureStore(
            name,
            account_name=AZURE_ACCOUNT,
            account_key=AZURE_KEY,
            endpoint=account,
            client_options={"allow_http": True},
        )
        self.queue: Any = QueueClient.from_connection_string(emulators.azure_connection(azurite), name)
        self.queue.create_queue()

    def events(self) -> list[dict[str, Any]]:
        found = []
        for message in self.queue.receive_messages(messages_per_page=32):
            found.append(json.loads(base64.b64decode(message.content)))
            self.queue.delete_message(message)
        return found


@pytest.mark.parametrize("schema", ["eventgrid", "cloudevents"])
def test_a_written_blob_gives_one_event(azure_emulator: emulators.Running, schema: Schema) -> None:
    container = Container(azure_emulator, f"events-{schema}")
    obstore.put(container.store, "uploads/before.csv", b"1")
    bridge = ObjectEvents(azure_emulator, f"events-{schema}", f"events-{schema}", prefix="uploads", schema=schema)
    assert bridge.look() == 0
    etags = {key: obstore.put(container.store, key, b"12345")["e_tag"] for key in KEYS}
    obstore.put(container.store, "elsewhere/x.csv", b"1")
    assert (bridge.look(), bridge.look(), bridge.sent) == (3, 0, 3)
    received = container.events()
    assert {event.get("eventType") or event["type"] for event in received} == {BLOB_CREATED}
    assert {event["data"]["contentLength"] for event in received} == {5}
    assert {event["data"]["eTag"] for event in received} == {str(etag).strip('"') for etag in etags.values()}
    landing = landing_of(f"az://events-{schema}?account={AZURE_ACCOUNT}&endpoint={azure_emulator.url}")
    keys = [azure_events.written_of(json.dumps(event).encode(), landing) for event in received]
    assert sorted(keys) == sorted((key,) for key in KEYS)


def test_events_of_a_failed_listing_are_sent_by_the_next(
    azure_emulator: emulators.Running, capsys: pytest.CaptureFixture[str]
) -> None:
    container = Container(azure_emulator, "failing")
    with object_events(azure_emulator, "failing", "failing") as bridge:
        looks, failures = bridge._blobs, iter((OSError("gone"), OSError("gone")))

        def blobs() -> list[Any]:
            for error in failures:
                raise error
            return looks()

        bridge._blobs = blobs  # type: ignore[method-assign]
        obstore.put(container.store, "a", b"1")
        until(lambda: bridge.sent == 1)
    assert len(container.events()) == 1
    assert capsys.readouterr().err.count("object events of failing: OSError: gone") == 2


def test_an_overwritten_blob_gives_an_event_and_a_deleted_one_none(azure_emulator: emulators.Running) -> None:
    container = Container(azure_emulator, "again")
    bridge = ObjectEvents(azure_emulator, "again", "again", prefix="", schema="eventgrid")
    obstore.put(container.store, "a", b"1")
    assert bridge.look() == 1
    obstore.put(container.store, "a", b"2")
    assert bridge.look() == 1
    obstore.delete(container.store, "a")
    assert bridge.look() == 0
    obstore.put(container.store, "a", b"1")
    assert bridge.look() == 1
    received = container.events()
    assert len({event["id"] for event in received}) == 3
    assert [event["data"]["sequencer"] for event in received] == sorted(
        event["data"]["sequencer"] for event in received
    )


def test_the_bridge_lists_periodically(azure_emulator: emulators.Running) -> None:
    container = Container(azure_emulator, "itself")
    with object_events(azure_emulator, "itself", "itself") as bridge:
        obstore.put(container.store, "a", b"1")
        until(lambda: bridge.sent == 1)
    assert [event["subject"] for event in container.events()] == ["/blobServices/default/containers/itself/blobs/a"]


def test_both_schemas_say_the_same(azure_emulator: emulators.Running) -> None:
    container = Container(azure_emulator, "same")
    bridge = ObjectEvents(azure_emulator, "same", "same", prefix="", schema="eventgrid")
    obstore.put(container.store, "a", b"1")
    bridge.look()
    [event] = container.events()
    cloud = as_cloudevent(event)
    assert (cloud["specversion"], cloud["type"], cloud["source"]) == ("1.0", event["eventType"], event["topic"])
    assert (cloud["subject"], cloud["data"], cloud["id"]) == (event["subject"], event["data"], event["id"])


def test_s3_sends_its_events_to_sqs(aws_emulator: emulators.Running) -> None:
    account = {**AWS_ACCOUNT, "aws_access_key_id": "5" * 12}
    s3: Any = boto3.client("s3", endpoint_url=aws_emulator.url, **account)
    sqs: Any = boto3.client("sqs", endpoint_url=aws_emulator.url, **account)
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket="events")
    rule = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "uploads/"}]}}
    wanted = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": rule}
    s3.put_bucket_notification_configuration(
        Bucket="events", NotificationConfiguration={"QueueConfigurations": [wanted]}
    )
    s3.put_object(Bucket="events", Key="elsewhere/x", Body=b"1")
    s3.put_object(Bucket="events", Key="uploads/x", Body=b"12345")
    keys: list[str] = []

    def came() -> bool:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            records = json.loads(message["Body"]).get("Records", [])
            keys.extend(record["s3"]["object"]["key"] for record in records)
        return bool(keys)

    until(came)
    assert keys == ["uploads/x"]


def test_cloud_storage_publishes_its_events_to_pubsub(
    emulators_folder: Any, pubsub_emulator: emulators.Running
) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    from tests.localstack.test_gcp_host import PROJECT, Topic

    topic = Topic(pubsub_emulator, "events")
    project = PROJECT.rpartition("/")[2]
    with emulators.gcs(
        emulators_folder, events=pubsub_emulator, project=project, topic="events", prefix="uploads/"
    ) as running:
        client = storage.Client(
            project=project, credentials=AnonymousCredentials(), client_options={"api_endpoint": running.url}
        )
        bucket = client.create_bucket("events")
        bucket.blob("elsewhere/x").upload_from_string(b"1")
        bucket.blob("uploads/x").upload_from_string(b"12345")
        pulled: list[Any] = []

        def came() -> bool:
            body = {"maxMessages": 10, "returnImmediately": True}
            pulled.extend(topic.call("POST", f"{topic.subscription}:pull", body).get("receivedMessages", []))
            return bool(pulled)

        until(came)
        client.close()
    attributes = [each["message"]["attributes"] for each in pulled]
    assert [(each["eventType"], each["objectId"]) for each in attributes] == [("OBJECT_FINALIZE", "uploads/x")]
