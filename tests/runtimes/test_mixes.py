"""Storage and queues of different providers in one stack, and functions at different places."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest

from functions.runtimes.local.home import SETTINGS, Home, create_home, open_home
from functions.runtimes.local.platform import compose_all
from functions.runtimes.local.poller import MARGIN_S, Poller, Watermark, needed
from functions.runtimes.local.supervisor import start
from functions.runtimes.placement import placed_here
from localstack.emulators import Running
from shared.documents import encode
from shared.errors import ConfigurationError
from shared.events import Event, UploadReceived, payload
from shared.ports import ObjectInfo
from shared.settings import Settings, read_settings
from shared.topology import queue_names
from tests.waiting import until

FILE = b"a,b\n1,2\n"
TIMEOUT_S = 60.0


@pytest.fixture
def aws(aws_emulator: Running, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return boto3's clients of an account of its own; this process and those it starts have its credentials."""
    account = "".join(secrets.choice("0123456789") for _ in range(12))
    environment = {
        "AWS_ACCESS_KEY_ID": account,
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    session = boto3.Session(account, "test", region_name="us-east-1")
    return lambda service: session.client(service, endpoint_url=aws_emulator.url)  # type: ignore[call-overload]


def home_with(folder: Path, **changes: Any) -> Home:
    """Return a home with other settings."""
    made = create_home(folder / "home", port=0)
    settings = read_settings((made.path / SETTINGS).read_bytes())
    (made.path / SETTINGS).write_bytes(encode(msgspec.structs.replace(settings, **changes)))
    return open_home(made.path)


def test_a_bucket_feeds_functions_on_premises_over_a_local_queue(
    tmp_path: Path, aws_emulator: Running, aws: Callable[[str], Any]
) -> None:
    """S3 with the local queue: nobody tells this house of new objects, so it looks by itself."""
    bucket = f"landing-{secrets.token_hex(6)}"
    s3 = aws("s3")
    s3.create_bucket(Bucket=bucket)
    stores = create_home(tmp_path / "home", port=0).settings.stores
    landing = f"s3://{bucket}?endpoint={aws_emulator.url}&region=us-east-1"
    home = home_with(
        tmp_path,
        stores=msgspec.structs.replace(stores, landing=landing),
        reconcile_every_s=0.0,
        monitor_every_s=0.0,
        poll_every_s=0.2,
    )
    system = compose_all(home, "test").platform.system
    s3.put_object(Bucket=bucket, Key="drops/flights/before.csv", Body=FILE)
    with start(home, 0):
        until(lambda: len(list(system.list("receipts/"))) == 1)
        s3.put_object(Bucket=bucket, Key="drops/flights/a file+(1).csv", Body=FILE)
        s3.put_object(Bucket=bucket, Key="elsewhere/flights/not-ours.csv", Body=FILE)
        until(lambda: len(list(system.list("receipts/"))) == 2)
    with start(home, 0):  # it goes on from its watermark
        s3.put_object(Bucket=bucket, Key="drops/flights/third.csv", Body=FILE)
        until(lambda: len(list(system.list("receipts/"))) == 3)


def test_files_on_disk_with_queues_in_a_cloud(tmp_path: Path, aws_emulator: Running, aws: Callable[[str], Any]) -> None:
    """Disk with SQS: the worker here takes its messages from there."""
    prefix = f"mix-{secrets.token_hex(4)}-"
    sqs = aws("sqs")
    for name in queue_names():
        dead = sqs.create_queue(QueueName=f"{prefix}{name}-dead")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = msgspec.json.encode({"deadLetterTargetArn": arn, "maxReceiveCount": "5"}).decode()
        sqs.create_queue(QueueName=prefix + name, Attributes={"RedrivePolicy": policy})
    home = home_with(
        tmp_path,
        queues=f"sqs://us-east-1/{prefix}?endpoint={aws_emulator.url}",
        settle_s=0.0,
        reconcile_every_s=0.5,
        monitor_every_s=0.0,
    )
    platform = compose_all(home, "test").platform
    platform.landing.put_new("drops/flights/a.csv", FILE)
    with start(home, 0):
        until(lambda: len(list(platform.system.list("receipts/"))) == 1)


class Landing:
    """A store in memory with the times of writing that a test wants."""

    def __init__(self) -> None:
        self.objects: dict[str, ObjectInfo] = {}

    def put(self, key: str, etag: str, modified: float) -> None:
        self.objects[key] = ObjectInfo(key, 1, etag, modified)

    def list(self, prefix: str = "", after: str = "", **_: Any) -> Iterator[ObjectInfo]:
        return (self.objects[key] for key in sorted(self.objects) if key.startswith(prefix))


class SentKeys:
    """A queue that keeps the keys that it was sent, and fails while it is `broken`."""

    max_body_bytes = 1 << 20

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.broken = False

    def send(self, body: bytes, **_: Any) -> None:
        if self.broken:
            raise OSError("broken")
        self.keys.append(payload(Event.decode(body), UploadReceived).key)


def poller(landing: Landing, sent: SentKeys, place: Path, url: str = "s3://landing") -> Poller:
    return Poller(landing, url, sent, place)  # type: ignore[arg-type]


def test_new_objects_are_sent_once_and_late_ones_too(tmp_path: Path) -> None:
    landing, sent, place = Landing(), SentKeys(), tmp_path / "watermark.json"
    looks = poller(landing, sent, place)
    landing.put("drops/flights/a.csv", "1", 1000.0)
    assert (looks.poll(), looks.poll()) == (1, 0)
    landing.put("drops/flights/late.csv", "1", 1000.0 - MARGIN_S / 2)  # written by a slow clock
    landing.put("drops/flights/a.csv", "2", 1001.0)  # overwritten: another upload
    landing.put("drops/../x", "1", 2000.0)
    landing.put("batch/flights/x", "1", 2000.0)
    assert looks.poll() == 2
    again = poller(landing, sent, place)  # another process goes on from there
    assert again.poll() == 0
    landing.put("drops/flights/b.csv", "1", 5000.0)
    assert (again.poll(), again.poll()) == (1, 0)
    assert len(msgspec.json.decode(place.read_bytes(), type=Watermark).sent) == 1
    assert sent.keys == ["drops/flights/a.csv", "drops/flights/a.csv", "drops/flights/late.csv", "drops/flights/b.csv"]


def test_the_watermark_is_written_after_all_were_sent(tmp_path: Path) -> None:
    landing, sent, place = Landing(), SentKeys(), tmp_path / "watermark.json"
    looks = poller(landing, sent, place)
    landing.put("drops/flights/a.csv", "1", 1000.0)
    sent.broken = True
    with pytest.raises(OSError, match="broken"):
        looks.poll()
    sent.broken = False
    assert looks.poll() == 1
    assert poller(landing, sent, place).poll() == 0
    assert poller(landing, sent, place, "s3://another").poll() == 1  # the watermark of another store is not used
    place.write_bytes(b"torn")
    assert poller(landing, sent, place).poll() == 1  # sent again: it has a receipt


def settings(**changes: Any) -> Settings:
    given = Settings(
        stack="s",
        stores=msgspec.convert({"landing": "file:a", "system": "file:b", "capture": "file:c"}, type=_stores()),
        queues="sqlite:q",
        issuer="i",
        audience="a",
        trust_roots={},
        token_keys={},
    )
    return msgspec.structs.replace(given, **changes)


def _stores() -> Any:
    return Settings.__annotations__["stores"]


def test_functions_run_where_they_are_placed() -> None:
    everywhere = settings()
    spread = settings(place="house", placement={"infer": "house", "validate": "cloud"})
    assert {"infer", "validate", "train"} <= {function.name for function in placed_here(everywhere)}
    here = {function.name for function in placed_here(spread)}
    assert "infer" in here
    assert "validate" not in here
    with pytest.raises(ConfigurationError, match="no function 'infre'"):
        placed_here(settings(placement={"infre": "house"}))
    landing = msgspec.structs.replace(everywhere.stores, landing="s3://b")
    assert not needed(everywhere)
    assert needed(settings(stores=landing))
    assert not needed(settings(stores=landing, placement={"validate": "cloud"}))
