"""The S3 store: sources of credentials, imports, valid URLs and signed URLs."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from adapters.aws.store import chain_of, from_url
from adapters.obstore_store import ObstoreStore
from localstack.emulators import Running
from shared.errors import ConfigurationError, Unauthenticated
from tests.conformance.aws_rigs import REGION, Bucket, account


@pytest.fixture
def back(aws_emulator: Running) -> Iterator[Bucket]:
    with account() as environment:
        yield Bucket(aws_emulator, environment)


@pytest.fixture
def store(aws_emulator: Running, back: Bucket) -> ObstoreStore:
    return from_url(f"s3://{back.name}/team?region={REGION}&endpoint={aws_emulator.url}")


@pytest.fixture
def nobody(tmp_path: Path, back: Bucket, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Remove all credentials; return the home folder."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_missing_credentials_name_their_sources(
    store: ObstoreStore, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for operation in (lambda: store.get("k"), lambda: store.put_new("k", b"1"), lambda: list(store.list())):
        with pytest.raises(Unauthenticated, match=r"AWS_ACCESS_KEY_ID.*AWS_PROFILE.*role"):
            operation()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(Unauthenticated, match="AWS_PROFILE"):
        store.get("k")


def test_a_machine_without_a_role_names_the_sources_of_credentials(
    store: ObstoreStore, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(Unauthenticated, match="give the machine a role"):
        store.get("k")


def test_profiles_are_used(store: ObstoreStore, back: Bucket, nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nobody / ".aws").mkdir()
    (nobody / ".aws" / "credentials").write_text(
        f"[work]\naws_access_key_id = {back.account}\naws_secret_access_key = test\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "work")
    store.put_new("k", b"1")
    assert back.read("team/k") == b"1"


def test_precedence_of_credentials(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    task = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1"}
    assert chain_of({**home, **keys, "AWS_PROFILE": "p"}) == "obstore"
    assert chain_of({**home, "AWS_PROFILE": "p"}) == "boto3"
    assert chain_of({**home, **task}) == chain_of({**home, "AWS_WEB_IDENTITY_TOKEN_FILE": "f"}) == "obstore"
    assert (chain_of(home), chain_of({**home, "AWS_EC2_METADATA_DISABLED": "true"})) == ("obstore", "none")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").touch()
    assert (chain_of(home), chain_of({**home, **task})) == ("boto3", "obstore")


def test_a_signed_url_is_valid_for_one_object_one_method_and_a_limited_time(
    aws_emulator: Running, back: Bucket
) -> None:
    store = from_url(f"s3://{back.name}/team?region={REGION}&endpoint={aws_emulator.url}")
    key = "a b/c+d%e/é.csv"
    there = store.presign(key, "PUT", 60)
    assert requests.put(there, data=b"1", timeout=30).status_code == 200
    assert (back.read(f"team/{key}"), store.get(key).body) == (b"1", b"1")
    here = store.presign(key, "GET", 60)
    assert requests.get(here, timeout=30).content == b"1"
    for method, url in (("PUT", here), ("GET", here.replace("a%20b", "a%20c")), ("GET", here[:-1] + "x")):
        assert requests.request(method, url, data=b"2", timeout=30).status_code == 403
    assert back.read(f"team/{key}") == b"1"


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///only/a/path",
        "s3://bucket/a//b",
        "s3://bucket/" + "p" * 200,
        "s3://bucket/..",
        "s3://user:secret@bucket",
        "s3://bucket?access_key=secret",
        "s3://bucket?region=a&region=b",
        "s3://bucket?endpoint=ftp://127.0.0.1",
        "s3://bucket?endpoint=http://user:secret@127.0.0.1",
        "s3://bucket#secret",
    ],
)
def test_invalid_urls_are_rejected_without_showing_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_url(url)
    assert "secret" not in str(caught.value)


def test_reading_and_writing_objects_imports_no_boto3(aws_emulator: Running, back: Bucket) -> None:
    program = (
        "import sys; from adapters.aws.store import from_url\n"
        "assert not {'obstore', 'boto3'} & set(sys.modules)\n"
        f"store = from_url('s3://{back.name}?region={REGION}&endpoint={aws_emulator.url}')\n"
        "store.put_new('k', b'1'); assert store.get('k').body == b'1'\n"
        "assert 'obstore' in sys.modules\n"
        "assert not {'boto3', 'botocore', 'azure.core', 'google.auth'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
