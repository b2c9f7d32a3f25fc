"""Checks of the ObjectStore port: keys and reading."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import DeadlineExceeded, InvalidInput, NotFound, Unsupported
from shared.ports import MAX_KEY_BYTES, Created, Object
from tests.conformance.clauses import THREADS, TIMEOUT, Suite
from tests.conformance.rigs import StoreRig

READING = Suite("ObjectStore")
clause = READING.clause

GOOD_KEYS = (
    "a",
    "a b/c+d=e@f,(g).csv",
    "..a/b../.c",
    ".tidegate/tmp",
    ".tmp/x",
    "%2e%2e/%2f",
    "Grüße/日本/🌊",
    "UPPER/upper",
    "-",
    "~",
    "w/" * 449 + "bc",
    "/".join("é" * 60 for _ in range(7)) + "/end",
)
BAD_KEYS = (
    "",
    "/a",
    "a/",
    "a//b",
    "/",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a/..",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\x85b",
    "a\ud800b",
    "a" * 200 + "/" + "b" * (MAX_KEY_BYTES - 200),
    "é" * (MAX_KEY_BYTES // 2) + "e",
)
WRITERS = 8


@clause(
    "ObjectStore",
    "One logical store: a bucket, a container or a folder.",
    "A key is 1 to 900 bytes of UTF-8 without NUL, backslash or control characters. It neither starts nor ends with "
    '"/", and has no empty, "." or ".." segment.',
)
def every_valid_key_is_a_separate_object(rig: StoreRig) -> None:
    keys = [key for key in GOOD_KEYS if key.count("/") < rig.max_segments]
    for key in keys:
        assert len(key.encode()) <= MAX_KEY_BYTES
        assert isinstance(rig.store.put_new(key, key.encode()), Created), key
    for key in keys:
        assert rig.store.get(key).body == rig.read_raw(key) == key.encode()
    for key in set(GOOD_KEYS) - set(keys):
        with pytest.raises(InvalidInput):
            rig.store.put_new(key, b"")
    assert [info.key for info in rig.store.list()] == sorted(keys, key=str.encode)
    longest = "s" * rig.max_segment_bytes
    assert isinstance(rig.store.put_new(longest, b""), Created)
    if rig.max_segment_bytes < MAX_KEY_BYTES:
        with pytest.raises(InvalidInput):
            rig.store.put_new(longest + "s", b"")


@clause("ObjectStore", "Any other key raises InvalidInput, before any effect.")
def invalid_keys_are_rejected_before_any_effect(rig: StoreRig) -> None:
    rig.store.put_new("a", b"1")
    for key in BAD_KEYS:
        for operation in _operations(rig, key):
            with pytest.raises(InvalidInput):
                operation()
    assert rig.keys_raw() == ["a"]
    assert rig.read_raw("a") == b"1"


@clause(
    "ObjectStore",
    'A store may refuse a key that is the folder of another ("a" beside "a/b"), with Unsupported or InvalidInput.',
)
def a_key_that_is_a_folder_is_written_or_refused(rig: StoreRig) -> None:
    for first, second in (("a", "a/b"), ("c/d/e", "c/d")):
        rig.store.put_new(first, b"1")
        for write in (rig.store.put_new, rig.store.put):
            if rig.folder_can_be_object:
                write(second, b"2")
                assert rig.read_raw(second) == b"2"
            else:
                with pytest.raises((Unsupported, InvalidInput)):
                    write(second, b"2")
                assert rig.store.head(second) is None
        assert rig.read_raw(first) == b"1"
    rig.store.put_new("g/h/i", b"1")
    rig.store.delete("g/h/i")  # g/h is no key's folder any more
    assert isinstance(rig.store.put_new("g/h", b"2"), Created)
    rig.store.delete("g/h")
    assert isinstance(rig.store.put_new("g/h/i", b"3"), Created)


@clause("", TIMEOUT)
def an_expired_timeout_has_no_effect(rig: StoreRig) -> None:
    rig.store.put_new("a", b"1")
    for key in ("a", "b"):
        for operation in _operations(rig, key, timeout_s=0.0):
            with pytest.raises(DeadlineExceeded):
                operation()
    assert rig.keys_raw() == ["a"]
    assert rig.read_raw("a") == b"1"


@clause("", THREADS)
def threads_can_share_the_adapter(rig: StoreRig) -> None:
    def work(worker: int) -> None:
        for number in range(20):
            rig.store.put_new(f"{worker}/{number}", b"%d" % number)
            rig.store.put("shared", b"%d" % worker)
            if number % 2:
                rig.store.delete(f"{worker}/{number}")

    in_threads(work)
    left = [f"{worker}/{number}" for worker in range(WRITERS) for number in range(0, 20, 2)]
    assert rig.keys_raw() == [info.key for info in rig.store.list()] == sorted([*left, "shared"])


@clause("ObjectStore.get", "Return the whole object: body and etag of one single write, never a mixture.")
@clause("Object", "An object's body, and the etag of the write that the body comes from.")
def get_returns_one_single_write(rig: StoreRig) -> None:
    bodies = [bytes([letter]) * 300_000 for letter in b"abcd"]
    written: dict[str, bytes] = {}
    seen: list[Object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(rig.another().get("k"))

    written[rig.store.put("k", bodies[0])] = bodies[0]
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for body in itertools.islice(itertools.cycle(bodies), 24):
            written[rig.store.put("k", body)] = body
    finally:
        done.set()
        reader.join()
    seen.append(rig.store.get("k"))
    assert all(written[found.etag] == found.body for found in seen)


@clause("ObjectStore.get", "Consistency: sees every write that was acknowledged before the call began.")
def get_sees_acknowledged_writes(rig: StoreRig) -> None:
    other = rig.another()
    with pytest.raises(NotFound):
        other.get("k")
    rig.store.put_new("k", b"1")
    assert other.get("k").body == b"1"
    rig.store.put("k", b"2")
    assert other.get("k").body == b"2"
    assert rig.store.get("k").body == b"2"
    assert other.get_range("k", 0, 9) == b"2"
    rig.store.delete("k")
    with pytest.raises(NotFound):
        other.get("k")


@clause("ObjectStore.get", "Raises: NotFound.")
def get_of_an_absent_key_is_not_found(rig: StoreRig) -> None:
    rig.store.put_new("a/b", b"1")
    for key in ("a", "a/c", "a/b/c", "b", "A/b"):
        with pytest.raises(NotFound) as caught:
            rig.store.get(key)
        assert key in caught.value.resource
        assert caught.value.operation == "get"


@clause("ObjectStore.get_range", "Return `length` bytes from `start`: fewer at the end of the object, none past it.")
def get_range_returns_part_of_the_body(rig: StoreRig) -> None:
    body = bytes(range(256)) * 10
    rig.store.put_new("k", body)
    for start, length in ((0, 5), (100, 300), (2550, 10), (2555, 100), (2560, 1), (9999, 5), (7, 0), (0, 1 << 62)):
        assert rig.store.get_range("k", start, length) == body[start : start + length]


@clause("ObjectStore.get_range", "Raises: NotFound; InvalidInput: start or length is negative.")
def get_range_rejects_negative_arguments(rig: StoreRig) -> None:
    with pytest.raises(NotFound):
        rig.store.get_range("k", 0, 1)
    rig.store.put_new("k", b"abc")
    for start, length in ((-1, 1), (0, -1), (-2, -2)):
        with pytest.raises(InvalidInput):
            rig.store.get_range("k", start, length)


@clause("ObjectStore.head", "Return the object's metadata, or None where there is no object; as consistent as `get`.")
@clause("ObjectInfo", "An object's metadata, which a store returns without the body.")
def head_returns_size_and_etag(rig: StoreRig) -> None:
    other = rig.another()
    assert other.head("a/k") is None
    created = rig.store.put_new("a/k", b"12345")
    assert isinstance(created, Created)
    info = other.head("a/k")
    assert info is not None
    assert (info.key, info.size_bytes, info.etag) == ("a/k", 5, created.etag)
    assert info.etag == rig.store.get("a/k").etag == next(rig.store.list()).etag
    etag = rig.store.put("a/k", b"123")
    info = other.head("a/k")
    assert info is not None
    assert (info.size_bytes, info.etag) == (3, etag)
    assert other.head("a") is None
    assert other.head("a/k/z") is None
    rig.store.delete("a/k")
    assert other.head("a/k") is None


@clause("ObjectInfo", "`etag` changes whenever the content does.")
def the_etag_changes_with_the_content(rig: StoreRig) -> None:
    etags = []
    for body in (b"aa", b"bb", b"aa", b"bb", b"b", b""):
        etags.append(rig.store.put("k", body))
        assert rig.store.get("k").etag == etags[-1]
    assert all(one != other for one, other in itertools.pairwise(etags))
    rig.store.delete("k")
    assert rig.store.put_new("k", b"c") != Created(etags[-1])


@clause(
    "ObjectInfo",
    "`modified` is the store's own time of the last write, in seconds since the epoch. It informs, and never decides "
    "order.",
)
def modified_is_the_time_of_writing(rig: StoreRig) -> None:
    rig.store.put_new("k", b"1")
    info = rig.store.head("k")
    assert info is not None
    assert abs(info.modified - rig.now()) < 60.0
    assert next(rig.store.list()).modified == info.modified


READING.permits(
    "ObjectInfo", "It is opaque, and may change when the content does not.", "it allows, and promises nothing"
)
READING.permits(
    "",
    "All operations may also raise Throttled, Unavailable and PermissionDenied.",
    "it allows, and promises nothing",
)


def _operations(rig: StoreRig, key: str, **given: Any) -> list[Callable[[], object]]:
    store = rig.another()
    operations: list[Callable[[], object]] = [
        lambda: store.get(key, **given),
        lambda: store.get_range(key, 0, 1, **given),
        lambda: store.head(key, **given),
        lambda: store.put_new(key, b"x", **given),
        lambda: store.put(key, b"x", **given),
        lambda: store.delete(key, **given),
        lambda: store.presign(key, "GET", 60, **given),
    ]
    if given:
        operations.append(lambda: list(store.list(key, **given)))
    return operations


def in_threads(work: Callable[[int], None]) -> None:
    """Run `work` for each worker in a thread of its own, all at once."""
    start = threading.Barrier(WRITERS)

    def begin(worker: int) -> None:
        start.wait()
        work(worker)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(begin, range(WRITERS)))
