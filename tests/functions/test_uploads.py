"""uploads: a file is acknowledged once it is in the landing store, under a key that follows from its content."""

import json
from typing import Any

import pytest

from functions.uploads import handle
from shared import layout
from shared.data.records import Receipt
from shared.documents import digest_of_parts, encode
from shared.errors import AlreadyExists, InvalidInput, NotFound, PayloadTooLarge
from shared.events import UploadReceived
from shared.registry.blob import create_document
from tests.functions.given import Given
from tests.functions.material import KEY, USECASE

BODY = b"x,y\n1,2\n"


def upload(given: Given, body: bytes = BODY, name: str = "january.csv", **fields: Any) -> tuple[dict[str, Any], Any]:
    """Send a file, and return the answer with the one event that follows."""
    call = given.call("upload", body, names={"name": name})
    outcome = handle(call, given.run_as(**fields))
    assert outcome.response is not None
    assert outcome.response.status == 202
    (emit,) = outcome.emits
    assert emit.usecase == USECASE
    return json.loads(outcome.response.body), emit.data


def test_a_file_is_landed_and_announced(given: Given) -> None:
    given.charter()
    answer, received = upload(given)
    (key,) = given.keys("uploads/")
    info = given.platform.landing.head(key)
    assert info is not None
    assert given.platform.landing.get(key).body == BODY
    assert received == UploadReceived(key=key, etag=info.etag)
    receipt = digest_of_parts(key, info.etag)
    assert answer == {
        "receipt": receipt,
        "key": key,
        "size_bytes": len(BODY),
        "href": f"/v1/usecases/{USECASE}/uploads/{receipt}",
    }
    assert layout.UPLOADS.parse(key) is not None
    assert key.endswith("/january.csv")


def test_the_same_file_again_is_the_same_upload(given: Given) -> None:
    given.charter()
    first = upload(given)
    assert upload(given) == first
    assert len(given.keys("uploads/")) == 1


@pytest.mark.parametrize("other", [{"body": BODY + b"3,4\n"}, {"name": "february.csv"}], ids=["content", "name"])
def test_another_file_is_another_upload(given: Given, other: dict[str, Any]) -> None:
    given.charter()
    first, _ = upload(given)
    second, _ = upload(given, **other)
    assert first["key"] != second["key"]
    assert first["receipt"] != second["receipt"]
    assert len(given.keys("uploads/")) == 2


def test_an_empty_file_is_refused(given: Given) -> None:
    given.charter()
    with pytest.raises(InvalidInput, match="the upload is empty"):
        upload(given, b"")
    assert given.keys("uploads/") == []


def test_a_file_over_the_limit_is_refused(given: Given) -> None:
    given.charter()
    given.change(max_upload_bytes=len(BODY) - 1)
    with pytest.raises(PayloadTooLarge, match=f"has {len(BODY)} bytes and the limit is {len(BODY) - 1}"):
        upload(given)
    assert given.keys("uploads/") == []


def test_a_file_of_exactly_the_limit_is_taken(given: Given) -> None:
    given.charter()
    given.change(max_upload_bytes=len(BODY))
    upload(given)
    assert len(given.keys("uploads/")) == 1


@pytest.mark.parametrize("applied", [False, True], ids=["no charter", "not signed"])
def test_without_a_charter_in_effect_no_file_is_taken(given: Given, applied: bool) -> None:
    if applied:
        given.charter(signed=False)
    with pytest.raises(NotFound, match="has no charter in effect"):
        upload(given)
    assert given.keys("uploads/") == []


@pytest.mark.parametrize("name", ["../january.csv", ".hidden", "a" * 129])
def test_a_name_that_no_key_may_have_is_refused(given: Given, name: str) -> None:
    given.charter()
    with pytest.raises(InvalidInput, match="is not allowed"):
        upload(given, name=name)
    assert given.keys("uploads/") == []


def test_another_files_bytes_under_the_uploads_key_are_left_alone(given: Given) -> None:
    given.charter()
    upload(given)
    (key,) = given.keys("uploads/")
    given.platform.landing.put(key, b"put there by hand")
    with pytest.raises(AlreadyExists, match="upload it under another name"):
        upload(given)
    assert given.platform.landing.get(key).body == b"put there by hand"


def test_a_file_that_is_removed_before_it_is_acknowledged_is_not_announced(given: Given) -> None:
    class Removed:
        """A landing store of which a rule removes each object at once."""

        def __getattr__(self, name: str) -> Any:
            return getattr(given.world.landing, name)

        def head(self, key: str) -> None:
            return None

    given.charter()
    with pytest.raises(NotFound, match="deleted before it could be acknowledged"):
        upload(given, landing=Removed())


def ask(given: Given, receipt: str) -> Any:
    response = handle(given.call("receipt", names={"receipt": receipt}), given.platform).response
    assert response is not None
    assert response.status == 200
    return json.loads(response.body)


def test_a_receipt_is_answered_as_it_was_written(given: Given) -> None:
    receipt = Receipt(usecase=USECASE, receipt=KEY, source_key="uploads/x", etag="1", state="accepted", dataset=1)
    create_document(given.platform.system, layout.RECEIPTS.key(usecase=USECASE, receipt=KEY), receipt)
    assert ask(given, KEY) == json.loads(encode(receipt))


def test_a_receipt_that_is_not_written_yet_is_not_found(given: Given) -> None:
    with pytest.raises(NotFound, match="no receipt with this id"):
        ask(given, KEY)


def test_another_use_cases_receipt_is_not_found(given: Given) -> None:
    receipt = Receipt(usecase="other", receipt=KEY, source_key="uploads/x", etag="1", state="vanished")
    create_document(given.platform.system, layout.RECEIPTS.key(usecase="other", receipt=KEY), receipt)
    with pytest.raises(NotFound, match="no receipt with this id"):
        ask(given, KEY)
