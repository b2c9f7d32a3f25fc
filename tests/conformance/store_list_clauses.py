"""Checks of the ObjectStore port: listing, deleting and signed URLs."""

import pytest

from shared.errors import Unsupported
from shared.ports import Created
from tests.conformance.clauses import Suite
from tests.conformance.rigs import StoreRig

LISTING = Suite("ObjectStore")
clause = LISTING.clause


@clause(
    "ObjectStore.list",
    "Yield every object whose key starts with `prefix` and is greater than `after`, in order of UTF-8 bytes.",
    "`prefix` is a plain string prefix, not a folder.",
)
def list_is_complete_and_in_order(rig: StoreRig) -> None:
    keys = ["a-b", "a/b", "a/b-/c", "a/b.c", "a/b0", "a0", "a/é", "a/z", "B", "b/c/d/e", "ab/c", "a!/b", "a/🌊", "a/￮"]
    keys = [key for key in keys if rig.folder_can_be_object or not any(k.startswith(key + "/") for k in keys)]
    for key in reversed(keys):
        rig.store.put_new(key, key.encode())
    ordered = sorted(keys, key=str.encode)
    edges = ["", *["a", "a/", "a/b", "a/b-", "a0", "b/c/", "b/c/d/e", "zz", "/", "..", "a/../a", "a//", "ab/c/", "a/￮"]]
    for prefix in edges:
        for after in ["", *edges, *ordered[::3]]:
            expected = [key for key in ordered if key.startswith(prefix) and key.encode() > after.encode()]
            assert [info.key for info in rig.another().list(prefix, after)] == expected, (prefix, after)
    assert [info.size_bytes for info in rig.store.list()] == [len(key.encode()) for key in ordered]


@clause(
    "ObjectStore.list",
    "Objects that were acknowledged before the call are included.",
    "Objects that are written or deleted during it may or may not be.",
)
def list_tolerates_concurrent_changes(rig: StoreRig) -> None:
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
def list_fetches_pages_as_needed(rig: StoreRig) -> None:
    for number in range(rig.objects_for_many_pages):
        rig.store.put_new(f"{number // 4:04d}/{number:05d}", b"")
    before = rig.fetches()
    listing = rig.store.list()
    next(listing)
    at_first = rig.fetches() - before
    assert len(list(listing)) == rig.objects_for_many_pages - 1
    assert at_first < rig.fetches() - before


@clause("ObjectStore.delete", "Remove the object. Removing an absent object is no error.")
def delete_removes_the_object(rig: StoreRig) -> None:
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
    "Return a URL that lets its holder read or write this one object until it expires.",
    "Raises: Unsupported: the provider has no signed URLs (memory, local).",
)
def presign_returns_a_url_or_is_unsupported(rig: StoreRig) -> None:
    rig.store.put_new("k", b"1")
    for method in ("GET", "PUT"):
        if rig.presigns:
            assert rig.store.presign("k", method, 60).startswith("http")
        else:
            with pytest.raises(Unsupported):
                rig.store.presign("k", method, 60)
