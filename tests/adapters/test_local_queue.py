"""The queue file: several processes, kills, locks, damage, a newer format, forks."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adapters.local.files import Deadline
from adapters.local.queue import LocalQueue, from_url
from adapters.local.queue_file import QueueFile
from shared.errors import ConfigurationError, DeadlineExceeded, IntegrityError, PermissionDenied, Unavailable

SYNCHRONOUS_FULL = 2
SEND_FOR_EVER = """
import itertools, sys
from adapters.local.queue import from_url
queue = from_url("sqlite://" + sys.argv[1], ["q"])["q"]
for number in itertools.count():
    queue.send(str(number).encode())
    print(number, flush=True)
"""
TAKE_ALL = """
import sys
from adapters.local.queue import from_url
queue = from_url("sqlite://" + sys.argv[1], ["q"])["q"]
print("ready", flush=True)
sys.stdin.readline()
while messages := queue.receive(3, 60.0):
    for message in messages:
        assert queue.ack(message.receipt_handle)
        print(message.body.decode())
"""


@pytest.fixture
def file(tmp_path: Path) -> "QueueFile":
    return QueueFile(tmp_path / "state" / "queues.db")


def test_queues_of_one_file_are_separate(file: QueueFile) -> None:
    one, two = LocalQueue(file, "one"), LocalQueue(file, "two")
    one.send(b"1")
    two.send(b"2")
    (message,) = one.receive(10, 30.0)
    assert message.body == b"1"
    assert two.ack(message.receipt_handle) is False
    assert two.change_visibility(message.receipt_handle, 0.0) is None
    assert (one.depth()[0], two.depth()[0]) == (1, 1)
    file.close()


def test_the_file_is_private_and_its_folder_is_created(tmp_path: Path) -> None:
    file = QueueFile(tmp_path / "a" / "b" / "queues.db")
    LocalQueue(file, "q").send(b"1")
    for path in (tmp_path / "a" / "b").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    file.close()


def test_every_commit_is_synced(file: QueueFile, tmp_path: Path) -> None:
    """`synchronous` is a setting of a connection, not of the file: each connection of the queue must have it."""
    LocalQueue(file, "q").send(b"1")
    others = QueueFile(tmp_path / "state" / "queues.db")

    def durability(one: QueueFile) -> tuple[str, int]:
        with one.reading("test", "q", _deadline()) as connection:
            (journal,), (synchronous,) = (
                connection.execute(f"PRAGMA {name}").fetchone() for name in ("journal_mode", "synchronous")
            )
        return journal, synchronous

    with ThreadPoolExecutor(1) as another_thread:
        found = [durability(file), another_thread.submit(durability, file).result(), durability(others)]
    assert found == [("wal", SYNCHRONOUS_FULL)] * 3
    file.close()
    assert durability(file) == ("wal", SYNCHRONOUS_FULL)
    file.close()
    others.close()


def test_send_returns_after_the_commit(file: QueueFile, tmp_path: Path) -> None:
    queue = LocalQueue(file, "q")
    queue.send(b"1")
    statements: list[str] = []
    with file.reading("test", "q", _deadline()) as connection:
        connection.set_trace_callback(statements.append)
        queue.send(b"2")
        queue.send_many([b"3", b"4"])
        connection.set_trace_callback(None)
        assert not connection.in_transaction
    verbs = [text.split()[0] for text in statements if not text.startswith("PRAGMA")]
    assert verbs == ["BEGIN", "INSERT", "COMMIT", "BEGIN", "INSERT", "INSERT", "COMMIT"]
    # What a crash would leave: the files as they are now, without the connection's own memory.
    left = shutil.copytree(tmp_path / "state", tmp_path / "left")
    copy = QueueFile(left / "queues.db")
    found = LocalQueue(copy, "q").receive(10, 30.0)
    assert sorted(message.body for message in found) == [b"1", b"2", b"3", b"4"]
    copy.close()
    file.close()


def test_sent_messages_survive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "queues.db"
    sender = subprocess.Popen([sys.executable, "-c", SEND_FOR_EVER, path], stdout=subprocess.PIPE, text=True)
    assert sender.stdout is not None
    for _ in range(50):
        last = int(sender.stdout.readline())
    sender.send_signal(signal.SIGKILL)
    rest, _ = sender.communicate()
    last = int(rest.split()[-1]) if rest.split() else last
    file = QueueFile(path)
    queue = LocalQueue(file, "q")
    found = [int(message.body) for _ in range(queue.depth()[0]) for message in queue.receive(10, 60.0)]
    assert sorted(found)[: last + 1] == list(range(last + 1))
    assert len(found) <= last + 2
    file.close()


def test_processes_receive_different_messages(tmp_path: Path) -> None:
    path = tmp_path / "queues.db"
    file = QueueFile(path)
    LocalQueue(file, "q").send_many([b"%d" % number for number in range(200)])
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE_ALL, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for taker in takers:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "ready\n"
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
    taken = [int(number) for taker in takers for number in taker.communicate(timeout=60)[0].split()]
    assert sorted(taken) == list(range(200))
    file.close()


def test_a_busy_file_is_retried_until_the_deadline(file: QueueFile, tmp_path: Path) -> None:
    queue = LocalQueue(file, "q")
    queue.send(b"1")
    other = sqlite3.connect(tmp_path / "state" / "queues.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DeadlineExceeded):
        queue.send(b"2", timeout_s=0.05)
    assert queue.depth(timeout_s=0.05)[0] == 1  # readers are not in the way of writers, nor they of them
    timer = threading.Timer(0.1, other.execute, ("COMMIT",))
    timer.start()
    queue.send(b"3", timeout_s=20.0)
    timer.join()
    other.close()
    assert [message.body for message in queue.receive(10, 30.0)] == [b"1", b"3"]
    file.close()


def test_many_processes_can_open_a_new_file_at_once(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    file = QueueFile(tmp_path / "queues.db")
    others = [QueueFile(tmp_path / "queues.db") for _ in range(7)]
    failed: list[BaseException] = []

    def send(one: QueueFile) -> None:
        start.wait()
        try:
            LocalQueue(one, "q").send(b"1")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=send, args=(one,)) for one in [file, *others]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert LocalQueue(file, "q").depth()[0] == 8
    for one in [file, *others]:
        one.close()


def test_a_damaged_file_is_an_integrity_error(tmp_path: Path) -> None:
    path = tmp_path / "queues.db"
    path.write_bytes(b"this is no database, and long enough to be looked at as one" * 50)
    with pytest.raises(IntegrityError, match="damaged"):
        LocalQueue(QueueFile(path), "q").send(b"1")


def test_a_newer_format_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "queues.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="upgrade"):
        LocalQueue(QueueFile(path), "q").depth()


def test_a_full_disk_is_unavailable_and_nothing_is_sent(file: QueueFile, tmp_path: Path) -> None:
    queue = LocalQueue(file, "q")
    queue.send(b"1")
    with file.reading("test", "q", _deadline()) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="full"):
        queue.send(b"x" * 100_000)
    assert [message.body for message in queue.receive(10, 30.0)] == [b"1"]
    file.close()


def test_a_read_only_file_is_permission_denied(file: QueueFile) -> None:
    queue = LocalQueue(file, "q")
    queue.send(b"1")
    with file.reading("test", "q", _deadline()) as connection:
        connection.execute("PRAGMA query_only = ON")
    with pytest.raises(PermissionDenied):
        queue.send(b"2")
    assert queue.depth()[0] == 1
    file.close()


def test_a_forked_process_opens_connections_of_its_own(file: QueueFile) -> None:
    queue = LocalQueue(file, "q")
    queue.send(b"parent")
    child = os.fork()
    if child == 0:
        try:
            queue.send(b"child")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(message.body for message in queue.receive(10, 30.0)) == [b"child", b"parent"]
    file.close()


def test_connections_of_ended_threads_are_closed(file: QueueFile) -> None:
    queue = LocalQueue(file, "q")
    for _ in range(5):
        thread = threading.Thread(target=queue.depth)
        thread.start()
        thread.join()
    queue.depth()
    assert len(file._opened) == 1
    file.close()


def test_a_queue_can_be_used_after_close(file: QueueFile) -> None:
    queue = LocalQueue(file, "q")
    queue.send(b"1")
    file.close()
    assert queue.depth()[0] == 1
    file.close()


def test_dead_letters_are_read_page_by_page(file: QueueFile) -> None:
    queue = LocalQueue(file, "q", max_receives=1)
    queue.send_many([b"%d" % number for number in range(250)])
    while queue.receive(10, 0.0):
        pass
    letters = list(queue.dead_letters())
    assert [int(letter.body) for letter in letters] == list(range(250))
    file.close()


def test_a_url_names_the_file(tmp_path: Path) -> None:
    queues = from_url(f"sqlite://{tmp_path}/q.db", ["a", "b"])
    queues["a"].send(b"1")
    assert (queues["a"].depth()[0], queues["b"].depth()[0]) == (1, 0)
    queues["a"]._file.close()


def _deadline() -> Deadline:
    return Deadline(5.0, "test", "q")
