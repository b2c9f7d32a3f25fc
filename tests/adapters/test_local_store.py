"""The store on disk: links, leftovers, files of other programs, full disks and syncs."""

import errno
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.local import files
from adapters.local.store import LEFTOVER_S, TEMPORARY, LocalStore
from adapters.memory.store import MemoryStore
from shared.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PermissionDenied,
    TidegateError,
    Unavailable,
)
from shared.ports import Created, Exists
from tidegate.arguments import is_key


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_a_key_is_the_path_of_its_file(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("drops/flights/2013 01.csv", b"1")
    path = tmp_path / "store" / "drops" / "flights" / "2013 01.csv"
    assert path.read_bytes() == b"1"
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "absent")
    assert list(store.list()) == []
    assert store.head("a/b") is None
    store.delete("a/b")
    with pytest.raises(NotFound):
        store.get("a/b")
    assert not (tmp_path / "absent").exists()


def test_symbolic_links_are_not_followed(store: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store.put_new("inside/k", b"1")
    root = tmp_path / "store"
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "inside" / "up").symlink_to(root)
    for key in ("folder/secret", "file", "inside/up/inside/k"):
        with pytest.raises(NotFound):
            store.get(key)
        assert store.head(key) is None
        store.delete(key)
    for key in ("folder/new", "file", "inside/up/new"):
        with pytest.raises(InvalidInput):
            store.put_new(key, b"2")
    with pytest.raises(InvalidInput):
        store.put("folder/secret", b"2")
    store.put("file", b"2")  # takes the link's place, not its target's
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"
    assert [info.key for info in store.list()] == ["file", "inside/k"]


def test_the_root_can_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    LocalStore(tmp_path / "root").put_new("k", b"1")
    assert (tmp_path / "disk" / "k").read_bytes() == b"1"


def test_other_files_are_not_listed(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("k", b"1")
    root = tmp_path / "store"
    for name in (b"back\\slash", b"new\nline", b"latin-\xe9"):
        Path(os.fsdecode(os.path.join(os.fsencode(root), name))).write_bytes(b"x")
    os.mkfifo(root / "pipe")
    (root / "empty" / "folder").mkdir(parents=True)
    assert [info.key for info in store.list()] == ["k"]
    for key in ("pipe", "empty", "empty/folder"):
        assert store.head(key) is None
        with pytest.raises(NotFound):
            store.get(key)
    with pytest.raises(InvalidInput):
        store.put_new("pipe", b"1")


def test_no_key_reaches_temporary_files(store: LocalStore) -> None:
    store.put_new("k", b"1")
    assert not is_key(TEMPORARY)
    for key in (TEMPORARY, TEMPORARY + "/x"):
        with pytest.raises(InvalidInput):
            store.get(key)
    assert isinstance(store.put_new(".tidegate/tmp", b"1"), Created)


def test_old_temporary_files_are_removed(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("k", b"1")
    folder = tmp_path / "store" / TEMPORARY
    for name, age_s in (("old", LEFTOVER_S + 60.0), ("young", 60.0)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    LocalStore(tmp_path / "store")
    assert [path.name for path in folder.iterdir()] == ["young"]


def test_a_write_leaves_no_temporary_file(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("k", b"1")
    store.put_new("k", b"2")
    store.put("k", b"3")
    assert list((tmp_path / "store" / TEMPORARY).iterdir()) == []
    assert (tmp_path / "store" / "k").stat().st_nlink == 1


def test_everything_is_synced_before_it_is_acknowledged(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), tmp_path / "store"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    store.put_new("a/b/k", b"1")
    temporary = [name for name in synced if name.startswith(TEMPORARY + "/")]
    assert len(temporary) == 1
    assert {"..", ".", "a"} <= set(synced[: synced.index(temporary[0])])  # each new folder's entry in its parent
    assert synced[-1] == "a/b"
    assert synced.index(temporary[0]) < len(synced) - 1
    synced.clear()
    LocalStore(tmp_path / "store").put("a/b/other", b"1")
    assert {".", "a"} <= set(synced)  # made by another process, which may not have come to sync them
    synced.clear()
    assert store.put_new("a/b/k", b"2") == Exists()
    assert synced == ["a/b"]


def failing(code: int) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code), "/secret/path")

    return fail


@pytest.mark.parametrize(
    ("function", "code", "expected"),
    [
        ("write", errno.ENOSPC, Unavailable),
        ("write", errno.EDQUOT, Unavailable),
        ("write", errno.EIO, Unavailable),
        ("link", errno.EACCES, PermissionDenied),
        ("mkdir", errno.EROFS, PermissionDenied),
        ("open", errno.EMFILE, Unavailable),
    ],
)
def test_disk_errors_are_raised_and_have_no_effect(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, function: str, code: int, expected: type[TidegateError]
) -> None:
    store.put_new("a/k", b"1")
    with monkeypatch.context() as patched:
        patched.setattr(os, function, failing(code))
        with pytest.raises(expected) as caught:
            store.put_new("b/k", b"2")
    assert "/secret/path" not in str(caught.value)
    assert caught.value.provider == "local"
    assert store.head("b/k") is None
    assert [info.key for info in LocalStore(store._tree._root).list()] == ["a/k"]
    assert store.put_new("b/k", b"2") != Exists()


@pytest.mark.parametrize("operation", ["put_new", "put", "delete"])
def test_a_failed_folder_sync_is_outcome_unknown(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    store.put_new("a/k", b"1")
    fsync = os.fsync

    def only_files(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EIO, "no")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", only_files)
    arguments = ("a/k",) if operation == "delete" else ("a/k2", b"2")
    with pytest.raises(OutcomeUnknown):
        getattr(store, operation)(*arguments)


def test_a_file_overwritten_while_it_is_read_is_read_again(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_new("drops/x", b"a" * 1000)
    path = tmp_path / "store" / "drops" / "x"
    pread = os.pread
    reads: list[int] = []

    def overwritten_once(fd: int, length: int, start: int) -> bytes:
        body = pread(fd, 500, start)
        reads.append(start)
        if len(reads) == 1:
            path.write_bytes(b"b" * 1000)
        return body

    monkeypatch.setattr(os, "pread", overwritten_once)
    found = store.get("drops/x")
    assert found.body == b"b" * 1000
    assert found.etag == store.get("drops/x").etag

    def overwritten_always(fd: int, length: int, start: int) -> bytes:
        path.write_bytes(path.read_bytes()[:-1])
        return pread(fd, length, start)

    monkeypatch.setattr(os, "pread", overwritten_always)
    with pytest.raises((Unavailable, DeadlineExceeded)):
        store.get("drops/x", timeout_s=0.02)


def test_changes_by_other_programs_change_the_etag(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("x", b"1")
    path = tmp_path / "store" / "x"
    etags = {store.get("x").etag}
    path.write_bytes(b"22")
    etags.add(store.get("x").etag)
    (tmp_path / "new").write_bytes(b"33")
    os.utime(tmp_path / "new", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "new").rename(path)
    etags.add(store.get("x").etag)
    assert len(etags) == 3


def test_racing_writers_can_replace_empty_folders_by_objects(store: LocalStore) -> None:
    def work(worker: int) -> None:
        for _ in range(60):
            for key in ("a", "a/b", "a/b/c"):
                try:
                    store.put_new(key, key.encode())
                    store.delete(key)
                except InvalidInput:
                    pass

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(store.list()) == []
    assert isinstance(store.put_new("a/b", b"1"), Created)


class Steps:
    """Random operations on few keys, so that they collide."""

    keys = st.sampled_from(["a", "a/b", "a/b/c", "a-b", "b", "é/x", "hints/x"])
    one = st.one_of(
        st.tuples(st.sampled_from(["put_new", "put"]), keys, st.binary(max_size=4)),
        st.tuples(st.sampled_from(["get", "head", "delete"]), keys),
        st.tuples(st.just("get_range"), keys, st.integers(-1, 5), st.integers(-1, 5)),
        st.tuples(st.just("list"), st.sampled_from(["", "a", "a/", "a/b", "z"]), keys),
    )


@given(st.lists(Steps.one, max_size=30))
@settings(max_examples=60)
def test_disk_and_memory_behave_alike(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk, memory = LocalStore(folder), MemoryStore()
        for operation, *arguments in steps:
            if operation in ("put_new", "put") and _blocked(memory, arguments[0]):
                with pytest.raises(InvalidInput):
                    getattr(disk, operation)(*arguments)
            else:
                assert _answer(disk, operation, arguments) == _answer(memory, operation, arguments)


def _blocked(store: MemoryStore, key: str) -> bool:
    """Return whether on a disk this key is the folder of another, or is below another object."""
    keys = [info.key for info in store.list()]
    return any(other.startswith(key + "/") or key.startswith(other + "/") for other in keys)


def _answer(store: Any, operation: str, arguments: list[Any]) -> object:
    try:
        answer = getattr(store, operation)(*arguments)
    except TidegateError as error:
        return type(error)
    if operation == "list":
        return [(info.key, info.size_bytes) for info in answer]
    if operation == "head":
        return answer and (answer.key, answer.size_bytes)
    if operation == "get":
        return answer.body
    return answer if operation == "get_range" else type(answer)


def test_deadlines_are_checked_before_effects() -> None:
    deadline = files.Deadline(60.0, "get", "k")
    deadline.check()
    assert 59.0 < deadline.left_s() <= 60.0
