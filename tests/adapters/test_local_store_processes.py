"""The store on disk over several processes: races for keys, kills, and files that another process writes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adapters.local.drops import settled
from adapters.local.store import TEMPORARY, LocalStore
from adapters.memory.clock import MemoryClock

pytestmark = pytest.mark.emulator

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


def test_of_two_racing_processes_one_creates_each_key(tmp_path: Path) -> None:
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


def test_a_killed_writer_leaves_complete_objects(tmp_path: Path) -> None:
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


def test_a_dropped_file_is_settled_once_unchanged_and_closed(store: LocalStore, tmp_path: Path) -> None:
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
