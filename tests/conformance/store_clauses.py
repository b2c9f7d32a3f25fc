"""What an object store must do, sentence by sentence."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import DeadlineExceeded, InvalidInput, NotFound, Unsupported
from shared.ports import MAX_KEY_BYTES, Created, Exists, Object
from tests.conformance.clauses import THREADS, TIMEOUT, Suite
from tests.conformance.rigs import StoreRig

STORE = Suite("ObjectStore")
clause = STORE.clause

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
    "One logical store: a bucket, a container, a folder.",
    "A key is 1 to 900 bytes of UTF-8 without NUL, backslash or control characters, neither starting nor ending with "
    '"/", and without empty, "." or ".." segments;',
)
def every_key_of_the_grammar_is_its_own_object(rig: StoreRig) -> None:
    for key in GOOD_KEYS:
        assert len(key.encode()) <= MAX_KEY_BYTES
        assert isinstance(rig.store.put_new(key, key.encode()), Created), key
    for key in GOOD_KEYS:
        assert rig.store.get(key).body == rig.read_raw(key) == key.encode()
    assert [info.key for info in rig.store.list()] == sorted(GOOD_KEYS, key=str.encode)
    longest = "s" * rig.max_segment_bytes
    assert isinstance(rig.store.put_new(longest, b""), Created)
    if rig.max_segment_bytes < MAX_KEY_BYTES:
        with pytest.raises(InvalidInput):
            rig.store.put_new(longest + "s", b"")


@clause("ObjectStore", "anything else is InvalidInput, before any effect.")
def other_keys_are_refused_before_any_effect(rig: StoreRig) -> None:
    rig.store.put_new("a", b"1")
    for key in BAD_KEYS:
        for operation in _operations(rig, key):
            with pytest.raises(InvalidInput):
                operation()
    assert rig.keys_raw() == ["a"]
    assert rig.read_raw("a") == b"1"


@clause(
    "ObjectStore",
    'A key that is another\'s folder ("a" beside "a/b") need not be possible: '
    "Unsupported or InvalidInput where it is not.",
)
def an_object_beside_its_folder_is_written_or_refused(rig: StoreRig) -> None:
    for first, second in (("a", "a/b"), ("c/d/e", "c/d")):
        rig.store.put_new(first, b"1")
        for write in (rig.store.put_new, rig.store.put):
            if rig.folder_may_be_object:
                write(second, b"2")
                assert rig.read_raw(second) == b"2"
            else:
                with pytest.raises((Unsupported, InvalidInput)):
                    write(second, b"2")
                assert rig.store.head(second) is None
        assert rig.read_raw(first) == b"1"
    rig.store.put_new("g/h/i", b"1")
    rig.store.delete("g/h/i")  # g/h is nobody's folder any more
    assert isinstance(rig.store.put_new("g/h", b"2"), Created)
    rig.store.delete("g/h")
    assert isinstance(rig.store.put_new("g/h/i", b"3"), Created)


@clause("", TIMEOUT)
def without_time_left_nothing_is_done(rig: StoreRig) -> None:
    rig.store.put_new("a", b"1")
    for key in ("a", "b"):
        for operation in _operations(rig, key, timeout_s=0.0):
            with pytest.raises(DeadlineExceeded):
                operation()
    assert rig.keys_raw() == ["a"]
    assert rig.read_raw("a") == b"1"


@clause("", THREADS)
def threads_may_share_it(rig: StoreRig) -> None:
    def work(worker: int) -> None:
        for number in range(20):
            rig.store.put_new(f"{worker}/{number}", b"%d" % number)
            rig.store.put("shared", b"%d" % worker)
            if number % 2:
                rig.store.delete(f"{worker}/{number}")

    _in_threads(work)
    left = [f"{worker}/{number}" for worker in range(WRITERS) for number in range(0, 20, 2)]
    assert rig.keys_raw() == [info.key for info in rig.store.list()] == sorted([*left, "shared"])


@clause("ObjectStore.get", "Return the whole object: bytes and etag of one single write, never a mixture.")
@clause("Object", "An object's bytes with the etag that they were read under.")
def get_gives_one_single_write(rig: StoreRig) -> None:
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


@clause("ObjectStore.get", "Consistency: sees every write acknowledged before the call began.")
def get_sees_what_was_acknowledged(rig: StoreRig) -> None:
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
def get_of_nothing_is_not_found(rig: StoreRig) -> None:
    rig.store.put_new("a/b", b"1")
    for key in ("a", "a/c", "a/b/c", "b", "A/b"):
        with pytest.raises(NotFound) as caught:
            rig.store.get(key)
        assert key in caught.value.resource
        assert caught.value.operation == "get"


@clause("ObjectStore.get_range", "Return `length` bytes from `start` (fewer at the end, none past it).")
def get_range_gives_a_part(rig: StoreRig) -> None:
    body = bytes(range(256)) * 10
    rig.store.put_new("k", body)
    for start, length in ((0, 5), (100, 300), (2550, 10), (2555, 100), (2560, 1), (9999, 5), (7, 0), (0, 1 << 62)):
        assert rig.store.get_range("k", start, length) == body[start : start + length]


@clause("ObjectStore.get_range", "Raises: NotFound; InvalidInput: start or length is negative.")
def get_range_refuses_what_cannot_be(rig: StoreRig) -> None:
    with pytest.raises(NotFound):
        rig.store.get_range("k", 0, 1)
    rig.store.put_new("k", b"abc")
    for start, length in ((-1, 1), (0, -1), (-2, -2)):
        with pytest.raises(InvalidInput):
            rig.store.get_range("k", start, length)


@clause("ObjectStore.head", "Return what is known of the object, or None where there is none; as consistent as `get`.")
@clause("ObjectInfo", "What a store knows of an object without reading it.")
def head_knows_size_and_etag(rig: StoreRig) -> None:
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


@clause("ObjectInfo", "`etag` changes whenever the content does;")
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
    "`modified` is the store's own time of the last write, seconds since the epoch: for information, never for order.",
)
def modified_is_the_time_of_writing(rig: StoreRig) -> None:
    rig.store.put_new("k", b"1")
    info = rig.store.head("k")
    assert info is not None
    assert abs(info.modified - rig.now()) < 60.0
    assert next(rig.store.list()).modified == info.modified


@clause(
    "ObjectStore.put_new",
    "Create the object if the key is absent: the one primitive of coordination.",
    "whole and durable,",
)
@clause("Created", "`put_new` made the object; `etag` is its own.")
def put_new_creates_what_is_absent(rig: StoreRig) -> None:
    for key, body in (("a/b/c", b"\0\xff" * 70_000), ("empty", b"")):
        created = rig.store.put_new(key, body)
        assert created == Created(rig.store.get(key).etag)
        assert rig.read_raw(key) == body
        assert rig.another().get(key).body == body


@clause(
    "ObjectStore.put_new",
    "Atomic: of any number of racing callers exactly one gets Created, the object is that caller's body,",
)
def one_racing_caller_wins(rig: StoreRig) -> None:
    for turn in range(15):
        key = f"race/{turn:04d}"
        answers: dict[int, Created | Exists] = {}

        def race(worker: int, key: str = key, answers: dict[int, Created | Exists] = answers) -> None:
            answers[worker] = rig.another().put_new(key, b"%d" % worker * 1000)

        _in_threads(race)
        winners = [worker for worker, answer in answers.items() if isinstance(answer, Created)]
        assert len(winners) == 1
        assert len(answers) == WRITERS
        assert rig.read_raw(key) == b"%d" % winners[0] * 1000


@clause("ObjectStore.put_new", "and no reader ever sees a part of it.")
def no_reader_sees_a_part(rig: StoreRig) -> None:
    body = bytes(2_000_000)
    for turn in range(5):
        key = f"whole/{turn}"
        sizes: set[int] = set()
        done = threading.Event()

        def read(key: str = key, sizes: set[int] = sizes, done: threading.Event = done) -> None:
            while not done.is_set():
                info = rig.another().head(key)
                if info is not None:
                    sizes.update((info.size_bytes, len(rig.another().get(key).body)))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            rig.store.put_new(key, body)
        finally:
            done.set()
            reader.join()
        assert sizes <= {len(body)}


@clause("ObjectStore.put_new", "Exists changes nothing.")
@clause(
    "Exists",
    "`put_new` changed nothing: an object with this key was there (perhaps our own, from a lost answer).",
)
def exists_changes_nothing(rig: StoreRig) -> None:
    rig.store.put_new("k", b"first")
    before = rig.store.head("k")
    assert rig.store.put_new("k", b"second") == Exists()
    assert rig.store.put_new("k", b"first") == Exists()
    assert rig.another().put_new("k", b"") == Exists()
    assert rig.store.head("k") == before
    assert rig.read_raw("k") == b"first"


@clause(
    "ObjectStore.put",
    "Write the object whether or not it exists, and return its etag. For hints and derived views only.",
    "Repeating it is harmless.",
)
def put_replaces(rig: StoreRig) -> None:
    for body in (b"1", b"22", b"22", b""):
        etag = rig.store.put("k", body)
        assert rig.read_raw("k") == body
        assert rig.store.get("k") == Object(body, etag)
    assert rig.keys_raw() == ["k"]


@clause("ObjectStore.put", "Atomic for readers; of racing writers the last one stands.")
def of_racing_puts_one_stands_whole(rig: StoreRig) -> None:
    for _ in range(5):
        etags: dict[int, str] = {}

        def race(worker: int, etags: dict[int, str] = etags) -> None:
            etags[worker] = rig.another().put("k", b"%d" % worker * 50_000)

        _in_threads(race)
        found = rig.store.get("k")
        assert found in [Object(b"%d" % worker * 50_000, etag) for worker, etag in etags.items()]
        etag = rig.store.put("k", b"last")
        assert rig.store.get("k") == Object(b"last", etag)


@clause(
    "ObjectStore.list",
    "Yield every object whose key starts with `prefix` and is greater than `after`, in order of UTF-8 bytes.",
    "`prefix` is a plain string prefix, not a folder.",
)
def list_is_complete_and_in_order(rig: StoreRig) -> None:
    keys = [
        "a-b",
        "a/b",
        "a/b-/c",
        "a/b.c",
        "a/b0",
        "a0",
        "a/é",
        "a/z",
        "B",
        "b/c/d/e",
        "ab/c",
        "a!/b",
        "a/\U0001f30a",
        "a/\uffee",
    ]
    keys = [key for key in keys if rig.folder_may_be_object or not any(k.startswith(key + "/") for k in keys)]
    for key in reversed(keys):
        rig.store.put_new(key, key.encode())
    ordered = sorted(keys, key=str.encode)
    edges = [
        "",
        "a",
        "a/",
        "a/b",
        "a/b-",
        "a0",
        "b/c/",
        "b/c/d/e",
        "zz",
        "/",
        "..",
        "a/../a",
        "a//",
        "ab/c/",
        "a/\uffee",
    ]
    for prefix in edges:
        for after in ["", *edges, *ordered[::3]]:
            expected = [key for key in ordered if key.startswith(prefix) and key.encode() > after.encode()]
            assert [info.key for info in rig.another().list(prefix, after)] == expected, (prefix, after)
    assert [info.size_bytes for info in rig.store.list()] == [len(key.encode()) for key in ordered]


@clause(
    "ObjectStore.list",
    "Objects acknowledged before the call are in; those written or deleted during it may or may not be.",
)
def list_bears_change_meanwhile(rig: StoreRig) -> None:
    for number in range(30):
        rig.store.put_new(f"{number % 3}/{number:02d}", b"")
    stay = {key for key in rig.keys_raw() if not key.endswith("7")}
    listing = rig.another().list()
    seen = [next(listing).key for _ in range(12)]
    for number in range(30):
        key = f"{number % 3}/{number:02d}"
        if number % 10 == 7:
            rig.store.delete(key)
        elif number % 3 == 2:
            rig.store.put_new(key + "-new", b"")
    seen += [info.key for info in listing]
    assert seen == sorted(set(seen))
    assert stay <= set(seen)


@clause("ObjectStore.list", "Pages are fetched as they are needed.")
def list_fetches_as_it_goes(rig: StoreRig) -> None:
    for number in range(rig.fills_pages):
        rig.store.put_new(f"{number // 4:04d}/{number:05d}", b"")
    before = rig.fetches()
    listing = rig.store.list()
    next(listing)
    at_first = rig.fetches() - before
    assert len(list(listing)) == rig.fills_pages - 1
    assert at_first < rig.fetches() - before


@clause("ObjectStore.delete", "Remove the object; removing what is not there is no error.")
def delete_removes(rig: StoreRig) -> None:
    rig.store.put_new("a/b", b"1")
    rig.store.put_new("a/c", b"2")
    for key in ("a/b", "a/b", "a", "a/c/d", "x/y/z"):
        rig.store.delete(key)
    assert rig.keys_raw() == ["a/c"]
    assert rig.another().head("a/b") is None


@clause("ObjectStore.delete", "After it, `put_new` creates again.")
def after_delete_put_new_creates_again(rig: StoreRig) -> None:
    rig.store.put_new("k", b"1")
    rig.another().delete("k")
    assert isinstance(rig.store.put_new("k", b"2"), Created)
    assert rig.read_raw("k") == b"2"


@clause(
    "ObjectStore.presign",
    "Return a URL that lets its holder read or write just this object until it expires.",
    "Raises: Unsupported: the provider has no such thing (memory, local).",
)
def presign_works_or_says_that_it_cannot(rig: StoreRig) -> None:
    rig.store.put_new("k", b"1")
    for method in ("GET", "PUT"):
        if rig.presigns:
            assert rig.store.presign("k", method, 60).startswith("http")  # type: ignore[arg-type]
        else:
            with pytest.raises(Unsupported):
                rig.store.presign("k", method, 60)  # type: ignore[arg-type]


STORE.permits("ObjectInfo", "it is opaque and may change without it.", "it allows, and promises nothing")
STORE.permits(
    "ObjectStore.put_new",
    "An adapter whose transport re-sends may get Exists against its own write: callers settle by reading back "
    "(shared.registry.blob.create does).",
    "it allows; that callers settle is tested where they live",
)
STORE.permits(
    "ObjectStore.put_new",
    "Raises: OutcomeUnknown: the answer was lost, the object may or may not be there.",
    "no rig can lose an answer on demand; the memory adapter's fault plan does, in its own tests",
)
STORE.permits(
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


def _in_threads(work: Callable[[int], None]) -> None:
    start = threading.Barrier(WRITERS)

    def begin(worker: int) -> None:
        start.wait()
        work(worker)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(begin, range(WRITERS)))
