"""What the clouds' entry points share."""

import threading

import pytest

from functions.runtimes.incoming import Lazy, path_of
from functions.runtimes.landing import Landing, landing_of


def test_a_lazy_object_is_made_once_over_threads() -> None:
    made: list[object] = []
    gate = threading.Barrier(8)

    def make() -> object:
        made.append(object())
        return made[-1]

    once = Lazy(make)
    given: list[object] = []

    def ask() -> None:
        gate.wait()
        given.append(once())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert {id(each) for each in given} == {id(made[0])}


def test_a_lazy_object_that_failed_is_made_again() -> None:
    tries = iter([ValueError("not yet"), None])

    def make() -> str:
        error = next(tries)
        if error:
            raise error
        return "made"

    once = Lazy(make)
    with pytest.raises(ValueError, match="not yet"):
        once()
    assert once() == "made"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a/b?c=d?e", "/a/b", "c=d?e"),
        ("/", "/", ""),
        ("https://host", "/", ""),
        ("https://host/a%2Fb?x", "/a%2Fb", "x"),
        ("http://host//a/../b", "//a/../b", ""),
        ("/a?next=http://other/b", "/a", "next=http://other/b"),
        ("/a/http://other/b", "/a/http://other/b", ""),
        ("*", "*", ""),
        ("", "", ""),
    ],
)
def test_a_target_is_cut_and_nothing_else(target: str, path: str, query: str) -> None:
    assert path_of(target) == (path, query)


@pytest.mark.parametrize(
    ("url", "landing"),
    [
        ("gs://lake", Landing("lake")),
        ("gs://lake/team%20a/b/?endpoint=http://127.0.0.1:1", Landing("lake", "team a/b/")),
        ("az://landing?account=lake", Landing("landing", "", "lake")),
        ("file:///var/landing", Landing("", "var/landing/")),
    ],
)
def test_a_stores_url_says_where_its_events_come_from(url: str, landing: Landing) -> None:
    assert landing_of(url) == landing


def test_events_are_needed_of_uploads_and_drops_only() -> None:
    assert Landing("lake", "in/").event_prefixes() == ("in/uploads/", "in/drops/")


def test_an_object_elsewhere_has_no_key() -> None:
    landing = Landing("lake", "in/", "account")
    assert landing.key_of("lake", "in/a", "account") == "a"
    assert landing.key_of("lake", "in/a") == "a"
    for elsewhere in (("pond", "in/a", "account"), ("lake", "inside/a", "account"), ("lake", "in/a", "another")):
        assert landing.key_of(*elsewhere) is None
