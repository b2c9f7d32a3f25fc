"""The store on disk where it is a disk: links, leftovers, hand-made files, full disks, kills, and two processes."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.arguments import is_key
from adapters.local import files
from adapters.local.drops import settled
from adapters.local.store import LEFTOVER_S, TEMPORARY, LocalStore
from adapters.memory.clock import MemoryClock
from adapters.memory.store import MemoryStore
from shared.errors import InvalidInput, NotFound, OutcomeUnknown, PermissionDenied, TidegateError, Unavailable
from shared.ports import Created, Exists

RACE = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from adapters.local.store import LocalStore
from shared.ports import Created
root, name, keys = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = LocalStore(root)
print("ready", flush=True)
sys.stdin.readline()
def take(worker):
    won = 0
    for number in range(1, keys + 1):
        body = f"{name}.{worker}.{number} ".encode() * 50
        if isinstance(store.put_new(f"models/flights/{number:08d}.json", body), Created):
            won += 1
    return won
with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(take, range(4))))
"""
WRITE_FOR_EVER = """
import itertools, sys
from adapters.local.store import LocalStore
store = LocalStore(sys.argv[1])
for number in itertools.count():
    store.put_new(f"k/{number % 7}/{number:06d}", b"x" * 100_000)
    store.put("hint", str(number).encode() * 1000)
    print(number, flush=True)
"""


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


def test_links_lead_nowhere(store: LocalStore, tmp_path: Path) -> None:
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


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    LocalStore(tmp_path / "root").put_new("k", b"1")
    assert (tmp_path / "disk" / "k").read_bytes() == b"1"


def test_what_is_no_object_is_left_out(store: LocalStore, tmp_path: Path) -> None:
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


def test_no_key_reaches_what_is_ours(store: LocalStore) -> None:
    store.put_new("k", b"1")
    assert not is_key(TEMPORARY)
    for key in (TEMPORARY, TEMPORARY + "/x"):
        with pytest.raises(InvalidInput):
            store.get(key)
    assert isinstance(store.put_new(".tidegate/tmp", b"1"), Created)


def test_leftovers_go_when_they_are_old(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("k", b"1")
    folder = tmp_path / "store" / TEMPORARY
    for name, age_s in (("old", LEFTOVER_S + 60.0), ("young", 60.0)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    LocalStore(tmp_path / "store")
    assert [path.name for path in folder.iterdir()] == ["young"]


def test_a_write_leaves_nothing_behind(store: LocalStore, tmp_path: Path) -> None:
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
def test_what_the_disk_refuses_is_told_and_nothing_is_done(
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
def test_a_folder_that_cannot_be_synced_leaves_doubt(
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
    with pytest.raises(Unavailable, match="when it rests"):
        store.get("drops/x", timeout_s=0.02)


def test_hand_made_changes_change_the_etag(store: LocalStore, tmp_path: Path) -> None:
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


def test_a_dropped_file_settles_when_it_rests_and_is_closed(store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "store" / "drops"
    folder.mkdir(parents=True)
    path = folder / "x.csv"
    clock = MemoryClock(time.time())
    assert not settled(store, "drops/x.csv", 2.0, clock)
    with path.open("wb") as file:
        file.write(b"a,b\n")
        file.flush()
        os.utime(path, (1e9, 1e9))  # a copy tool that keeps the old time of writing
        assert not settled(store, "drops/x.csv", 2.0, clock)
        clock.advance(10.0)
        assert not settled(store, "drops/x.csv", 2.0, clock)
    assert settled(store, "drops/x.csv", 2.0, clock)
    with path.open("rb"):
        assert settled(store, "drops/x.csv", 2.0, clock)
    path.rename(folder / "y.csv")
    assert not settled(store, "drops/x.csv", 2.0, clock)
    assert not settled(store, "drops/y.csv", 60.0, clock)


def test_a_file_open_in_another_process_is_not_settled(store: LocalStore, tmp_path: Path) -> None:
    store.put_new("drops/x", b"1")
    clock = MemoryClock(time.time() + 100.0)
    program = "import sys; f = open(sys.argv[1], 'ab'); print(1, flush=True); sys.stdin.readline()"
    path = tmp_path / "store" / "drops" / "x"
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert not settled(store, "drops/x", 2.0, clock)
        other.communicate(b"\n")
    assert settled(store, "drops/x", 2.0, clock)


def test_objects_and_emptied_folders_change_places_under_racing_writers(store: LocalStore) -> None:
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


def test_two_processes_race_for_a_thousand_keys(tmp_path: Path) -> None:
    keys = 1000
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, tmp_path / "store", name, str(keys)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [int(racer.communicate(timeout=120)[0]) for racer in racers]
    assert sum(won) == keys
    assert min(won) > 0
    store = LocalStore(tmp_path / "store")
    infos = list(store.list())
    assert [info.key for info in infos] == [f"models/flights/{number:08d}.json" for number in range(1, keys + 1)]
    for number, info in enumerate(infos, start=1):
        body = store.get(info.key).body.decode()
        name, worker, won_number = body.split(" ")[0].split(".")
        assert (body, int(won_number)) == (f"{name}.{worker}.{number} " * 50, number)
    assert list((tmp_path / "store" / TEMPORARY).iterdir()) == []


def test_a_killed_writer_leaves_whole_objects(tmp_path: Path) -> None:
    for turn in range(4):
        root = tmp_path / str(turn)
        writer = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, root], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(3 + 7 * turn):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        store = LocalStore(root)
        objects = {info.key: store.get(info.key).body for info in store.list()}
        hint = objects.pop("hint").decode()
        assert len(objects) > last
        assert set(objects.values()) == {b"x" * 100_000}
        assert int(hint[: len(hint) // 1000]) >= last


class Steps:
    """What a store can be asked, on few keys, so that they meet."""

    keys = st.sampled_from(["a", "a/b", "a/b/c", "a-b", "b", "é/x", "hints/x"])
    one = st.one_of(
        st.tuples(st.sampled_from(["put_new", "put"]), keys, st.binary(max_size=4)),
        st.tuples(st.sampled_from(["get", "head", "delete"]), keys),
        st.tuples(st.just("get_range"), keys, st.integers(-1, 5), st.integers(-1, 5)),
        st.tuples(st.just("list"), st.sampled_from(["", "a", "a/", "a/b", "z"]), keys),
    )


@given(st.lists(Steps.one, max_size=30))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_disk_and_memory_answer_alike(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        disk, memory = LocalStore(folder), MemoryStore()
        for operation, *arguments in steps:
            if operation in ("put_new", "put") and _blocked(memory, arguments[0]):
                with pytest.raises(InvalidInput):
                    getattr(disk, operation)(*arguments)
            else:
                assert _answer(disk, operation, arguments) == _answer(memory, operation, arguments)


def _blocked(store: MemoryStore, key: str) -> bool:
    """Return whether on a disk this key is another's folder, or below another object."""
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
    return {"get": lambda: answer.body, "get_range": lambda: answer}.get(operation, lambda: type(answer))()


def test_a_deadline_is_asked_about_before_effects() -> None:
    deadline = files.Deadline(60.0, "get", "k")
    deadline.check()
    assert 59.0 < deadline.left_s() <= 60.0
