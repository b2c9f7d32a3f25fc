"""Parsing Azure's events: as documented, and invalid ones."""

import base64
import json
from typing import Any

import pytest

from functions.runtimes.azure.events import firing_of, message_of, ncrontab, written_of
from functions.runtimes.landing import Landing, landing_of
from shared.errors import InvalidInput

LANDING = Landing("landing", account="lake")
TOPIC = "/subscriptions/s/resourceGroups/Storage/providers/Microsoft.Storage/storageAccounts/lake"

# learn.microsoft.com/azure/event-grid/event-schema-blob-storage, "Microsoft.Storage.BlobCreated event", as of 2026;
# names of our own.
EVENT_GRID: dict[str, Any] = {
    "topic": TOPIC,
    "subject": "/blobServices/default/containers/landing/blobs/drops/flights/a.csv",
    "eventType": "Microsoft.Storage.BlobCreated",
    "eventTime": "2017-06-26T18:41:00.9584103Z",
    "id": "831e1650-001e-001b-66ab-eeb76e069631",
    "data": {
        "api": "PutBlockList",
        "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
        "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
        "eTag": '"0x8D4BCC2E4835CD0"',
        "contentType": "text/plain",
        "contentLength": 524288,
        "blobType": "BlockBlob",
        "url": "https://lake.blob.core.windows.net/landing/drops/flights/a.csv",
        "sequencer": "00000000000004420000000000028963",
        "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
    },
    "dataVersion": "",
    "metadataVersion": "1",
}

# learn.microsoft.com/azure/event-grid/cloud-event-schema, "Sample event using CloudEvents schema": its subject has no
# slash at its beginning, those that are sent do.
CLOUD_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "type": "Microsoft.Storage.BlobCreated",
    "source": TOPIC,
    "id": "9aeb0fdf-c01e-0131-0922-9eb54906e209",
    "time": "2019-11-18T15:13:39.4589254Z",
    "subject": "blobServices/default/containers/landing/blobs/drops/flights/a.csv",
    "dataschema": "#",
    "data": EVENT_GRID["data"],
}


def sent(event: Any) -> bytes:
    return json.dumps(event).encode()


@pytest.mark.parametrize("event", [EVENT_GRID, CLOUD_EVENT])
def test_both_schemas_name_the_key(event: dict[str, Any]) -> None:
    assert written_of(sent(event), LANDING) == ("drops/flights/a.csv",)
    assert written_of(base64.b64encode(sent(event)), LANDING) == ("drops/flights/a.csv",)
    assert written_of(sent([event, event]), LANDING) == ("drops/flights/a.csv",) * 2


@pytest.mark.parametrize("name", ["a b.csv", "a+b.csv", "a%20b.csv", "ä/ü.csv", "blobs/x", "\U0001f30a.csv", "a\nb"])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    event = {**EVENT_GRID, "subject": f"/blobServices/default/containers/landing/blobs/{name}"}
    assert written_of(sent(event), LANDING) == (name,)


def test_a_prefix_is_removed_and_keys_outside_it_are_ignored() -> None:
    below = landing_of("az://landing/drops/flights?account=lake")
    assert written_of(sent(EVENT_GRID), below) == ("a.csv",)
    assert written_of(sent(EVENT_GRID), Landing("landing", "other/")) == (None,)


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "/blobServices/default/containers/system/blobs/drops/flights/a.csv"},
        {"subject": "/blobServices/default/containers/landing2/blobs/drops/flights/a.csv"},
        {"topic": TOPIC + "2"},
        {"eventType": "Microsoft.Storage.BlobDeleted"},
        {"eventType": "Microsoft.Storage.DirectoryCreated"},
        {"eventType": "Microsoft.Resources.ResourceWriteSuccess", "subject": "/elsewhere"},
    ],
)
def test_an_event_that_is_no_write_to_the_landing_store_is_ignored(change: dict[str, str]) -> None:
    assert written_of(sent({**EVENT_GRID, **change}), LANDING) == (None,)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\xff\xfe",
        b"{",
        b"{}",
        b"[1]",
        b"[" * 100_000,
        b"not base64 %",
        base64.b64encode(b"no json"),
        base64.b64encode(sent(EVENT_GRID))[:-1],
        sent({**EVENT_GRID, "subject": 7}),
        sent({**EVENT_GRID, "subject": "/blobServices/default/containers/landing/blobs/"}),
        sent({**EVENT_GRID, "subject": "drops/flights/a.csv"}),
        sent({name: value for name, value in EVENT_GRID.items() if name != "eventType"}),
        sent({name: value for name, value in EVENT_GRID.items() if name != "subject"}),
    ],
)
def test_an_invalid_message_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        written_of(body, LANDING)
    assert refused.value.field


def test_a_message_is_taken_out_of_base64_once_or_not_at_all() -> None:
    event = b'{"format": "event/1"}'
    assert message_of(event) == message_of(b"\n " + event) == message_of(base64.b64encode(event)) == event
    with pytest.raises(InvalidInput):
        message_of(base64.b64encode(base64.b64encode(event)))


# The status as the timer extension writes it while the function runs: Next is the time of this firing.
STATUS = {
    "Last": "2026-01-31T05:59:00.0012345+00:00",
    "Next": "2026-01-31T06:00:00+00:00",
    "LastUpdated": "2026-01-31T05:59:00.0012345+00:00",
}


def test_a_repeated_firing_has_the_same_name() -> None:
    first = firing_of("reconcile", STATUS, 60, now=1_769_839_200.3)
    assert first == ("reconcile 2026-01-31T06:00:00Z", 1_769_839_200.0)
    assert firing_of("reconcile", STATUS, 60, now=1_769_849_999.0) == first  # past due, an hour later
    assert firing_of("reconcile", {**STATUS, "Next": "2026-01-31T07:00:00+01:00"}, 60, now=0.0) == first
    assert firing_of("reconcile", {**STATUS, "Next": "2026-01-31T06:00:00"}, 60, now=0.0) == first
    assert firing_of("monitor", STATUS, 60, now=1_769_839_200.3) != first


@pytest.mark.parametrize("status", [{}, {"Next": None}, {"Next": "0001-01-01T00:00:00+00:00"}, {"Next": "soon"}])
def test_without_a_status_a_firing_is_named_by_its_period(status: dict[str, Any]) -> None:
    assert firing_of("reconcile", status, 5, now=1_769_839_203.9) == ("reconcile 2026-01-31T06:00:00Z", 1_769_839_200.0)
    assert firing_of("reconcile", status, 5, now=1_769_839_205.0) != firing_of(
        "reconcile", status, 5, now=1_769_839_204.9
    )


@pytest.mark.parametrize(
    ("period_s", "schedule"),
    [
        (0.5, "*/1 * * * * *"),
        (5, "*/5 * * * * *"),
        (7, "*/10 * * * * *"),
        (45, "0 */1 * * * *"),
        (60, "0 */1 * * * *"),
        (420, "0 */10 * * * *"),
        (3_600, "0 0 */1 * * *"),
        (18_000, "0 0 */6 * * *"),
        (86_400, "0 0 0 * * *"),
        (604_800, "0 0 0 * * *"),
    ],
)
def test_a_schedule_never_fires_more_often_than_it_should_within_a_day(period_s: float, schedule: str) -> None:
    assert ncrontab(period_s) == schedule
