"""Several things are started and ended at the same time, and none is left behind where another fails."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from localstack.concurrently import concurrently


class Things:
    """Context managers that say what becomes of them."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.meeting = threading.Barrier(2, timeout=10)

    @contextmanager
    def one(self, name: str, *, meets: bool = False, fails: str = "") -> Iterator[str]:
        if meets:
            self.meeting.wait()
        if fails == "start":
            raise OSError(name)
        self.open.append(name)
        try:
            yield name
        finally:
            self.open.remove(name)
            if meets:
                self.meeting.wait()
            if fails == "end":
                raise OSError(name)


def test_they_are_entered_and_left_at_the_same_time() -> None:
    things = Things()
    with concurrently([things.one("a", meets=True), things.one("b", meets=True)]) as given:
        assert given == ["a", "b"]
        assert sorted(things.open) == ["a", "b"]
    assert things.open == []


def test_at_most_so_many_are_entered_at_a_time() -> None:
    things = Things()
    with concurrently([things.one(str(number)) for number in range(5)], at_once=1):
        assert things.open == ["0", "1", "2", "3", "4"]
    assert things.open == []


@pytest.mark.parametrize("fails", ["start", "end"])
def test_where_one_fails_the_others_are_left(fails: str) -> None:
    things = Things()
    managers = [things.one("a"), things.one("bad", fails=fails), things.one("c")]
    with pytest.raises(OSError, match="bad"), concurrently(managers):
        pass
    assert things.open == []


def test_an_error_in_the_block_ends_them_all() -> None:
    things = Things()
    with pytest.raises(ValueError, match="mine"), concurrently([things.one("a"), things.one("b")]):
        raise ValueError("mine")
    assert things.open == []
