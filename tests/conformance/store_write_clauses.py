"""Checks of the ObjectStore port: writing."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.ports import Created, Exists, Object, ObjectStore
from tests.conformance.clauses import Suite
from tests.conformance.rigs import StoreRig
from tests.conformance.store_clauses import WRITERS, in_threads

WRITING = Suite("ObjectStore")
clause = WRITING.clause


@clause(
    "ObjectStore.put_new",
    "Create the object if the key is absent.",
    "The object is that caller's body, whole and durable.",
)
@clause("Created", "`put_new` created the object; `etag` is the new object's.")
def put_new_creates_an_absent_object(rig: StoreRig) -> None:
    for key, body in (("a/b/c", b"\0\xff" * 70_000), ("empty", b"")):
        created = rig.store.put_new(key, body)
        assert created == Created(rig.store.get(key).etag)
        assert rig.read_raw(key) == body
        assert rig.another().get(key).body == body


@clause(
    "ObjectStore.put_new",
    "All coordination between writers rests on this operation.",
    "Atomic: of any number of racing callers exactly one gets Created.",
    "The object is that caller's body, whole and durable.",
)
def one_racing_writer_wins(rig: StoreRig) -> None:
    for turn in range(15):
        key = f"race/{turn:04d}"
        answers: dict[int, Created | Exists] = {}

        def race(worker: int, key: str = key, answers: dict[int, Created | Exists] = answers) -> None:
            answers[worker] = rig.another().put_new(key, b"%d" % worker * 1000)

        in_threads(race)
        winners = [worker for worker, answer in answers.items() if isinstance(answer, Created)]
        assert len(winners) == 1
        assert len(answers) == WRITERS
        assert rig.read_raw(key) == b"%d" % winners[0] * 1000


@clause("ObjectStore.put_new", "No reader ever sees a part of it.")
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


@clause("ObjectStore.put_new", "The other callers get Exists, and change nothing.")
@clause(
    "Exists",
    "`put_new` changed nothing: the key has an object, perhaps our own from a write whose answer was lost.",
)
def put_new_on_an_existing_key_changes_nothing(rig: StoreRig) -> None:
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
def put_overwrites(rig: StoreRig) -> None:
    for body in (b"1", b"22", b"22", b""):
        etag = rig.store.put("k", body)
        assert rig.read_raw("k") == body
        assert rig.store.get("k") == Object(body, etag)
    assert rig.keys_raw() == ["k"]


@clause("ObjectStore.put", "Atomic for readers.")
def no_reader_sees_a_part_of_a_put(rig: StoreRig) -> None:
    bodies = [bytes([letter]) * size for letter, size in zip(b"abcd", (300_000, 10, 700_000, 0), strict=True)]
    rig.store.put("k", bodies[0])
    done = threading.Event()

    def read() -> None:
        store = rig.another()
        while not done.is_set():
            assert store.get("k").body in bodies
            info = store.head("k")
            assert info is not None
            assert info.size_bytes in [len(body) for body in bodies]

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            for body in bodies * 8:
                rig.store.put("k", body)
        finally:
            done.set()
        reading.result()


@dataclass(frozen=True)
class _Put:
    """A put that was acknowledged. It took effect between these two times."""

    began: float
    acknowledged: float
    etag: str


@clause("ObjectStore.put", "Of racing writers the last one wins.")
def the_last_of_racing_puts_wins(rig: StoreRig) -> None:
    """Every read returns one put, whole, and none that another put had replaced before the read began."""
    puts: dict[bytes, _Put] = {}
    reads: list[tuple[float, Object]] = []

    def put(body: bytes, store: ObjectStore) -> None:
        began = time.monotonic()
        etag = store.put("k", body)
        puts[body] = _Put(began, time.monotonic(), etag)

    def read(store: ObjectStore) -> None:
        began = time.monotonic()
        reads.append((began, store.get("k")))

    def race(worker: int) -> None:
        store = rig.another()
        for turn in range(5):
            put(b"%d/%d " % (worker, turn) * 5000, store)
            read(store)

    put(b"first", rig.store)
    in_threads(race)
    read(rig.store)
    for began, found in reads:
        written = puts.get(found.body)
        assert written is not None, "no put wrote this"
        assert found.etag == written.etag
        assert not [
            later for later in puts.values() if written.acknowledged < later.began and later.acknowledged < began
        ], "a later put had replaced it"


@clause("ObjectStore.put", "Of racing writers the last one wins.")
def the_last_of_successive_puts_wins(rig: StoreRig) -> None:
    handles = [rig.another(), rig.another()]
    for turn in range(10):
        body = b"%d" % turn
        etag = handles[turn % 2].put("k", body)
        assert [handle.get("k") for handle in (rig.store, *handles)] == [Object(body, etag)] * 3
        assert rig.read_raw("k") == body


WRITING.permits(
    "ObjectStore.put_new",
    "An adapter whose transport repeats requests may return Exists against its own write. Callers settle that by "
    "reading the object back, as shared.registry.blob.create does.",
    "it allows; tests/registry tests that callers settle it",
)
WRITING.permits(
    "ObjectStore.put_new",
    "Raises: OutcomeUnknown: the answer was lost; the object may or may not have been created.",
    "no rig can lose an answer on demand; the memory adapter's fault plan does, in its own tests",
)
