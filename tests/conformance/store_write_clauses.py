"""What an object store must do when it is written to, sentence by sentence."""

import threading

from shared.ports import Created, Exists, Object
from tests.conformance.clauses import Suite
from tests.conformance.rigs import StoreRig
from tests.conformance.store_clauses import WRITERS, in_threads

WRITING = Suite("ObjectStore")
clause = WRITING.clause


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

        in_threads(race)
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

        in_threads(race)
        found = rig.store.get("k")
        assert found in [Object(b"%d" % worker * 50_000, etag) for worker, etag in etags.items()]
        etag = rig.store.put("k", b"last")
        assert rig.store.get("k") == Object(b"last", etag)


WRITING.permits(
    "ObjectStore.put_new",
    "An adapter whose transport re-sends may get Exists against its own write: callers settle by reading back "
    "(shared.registry.blob.create does).",
    "it allows; that callers settle is tested where they live",
)
WRITING.permits(
    "ObjectStore.put_new",
    "Raises: OutcomeUnknown: the answer was lost, the object may or may not be there.",
    "no rig can lose an answer on demand; the memory adapter's fault plan does, in its own tests",
)
