"""Another issuer's keys: found by discovery, fetched again on rotation, kept while it is away, and never fetched in a
storm."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from functions.runtimes import issuer_keys
from functions.runtimes.issuer_keys import FRESH_S, PAUSE_S, RETRY_S, STALE_S, IssuerKeys, fetched
from localstack.token_issuer import TokenIssuer, token_issuer
from shared.errors import Unavailable
from shared.serving.access import jwks
from shared.serving.http import Request
from tests.runtimes.conftest import Stack
from tests.waiting import let_time_pass

AUDIENCE = "harbour"
PATH = "/v2/models/flights/infer"


class World:
    """An issuer's answers, a clock that is moved by hand, and what was asked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.asked: list[str] = []
        self.issuer = TokenIssuer("https://login.example.com", "RS256")
        self.error: Exception | None = None
        self.documents: dict[str, Callable[[], Any]] = {
            "https://login.example.com/.well-known/openid-configuration": self.issuer.discovery,
            "https://login.example.com/.well-known/jwks.json": self.issuer.jwks,
        }
        self.keys = IssuerKeys(self.issuer.url, AUDIENCE, lambda: self.now, self.fetch)

    def fetch(self, url: str, timeout_s: float) -> bytes:
        self.asked.append(url)
        if self.error is not None:
            raise self.error
        found = self.documents[url]()
        return found if isinstance(found, bytes) else json.dumps(found).encode()

    def names(self) -> set[str]:
        return set(self.keys.known().keys)


@pytest.fixture
def world() -> World:
    return World()


def test_no_keys_are_fetched_before_the_first_token(world: World) -> None:
    assert (world.names(), world.asked) == (set(), [])
    assert world.keys.renewed()
    assert len(world.names()) == 1
    assert len(world.asked) == 2


def test_a_new_key_is_fetched_and_unknown_ones_are_limited(world: World) -> None:
    world.keys.renewed()
    for _ in range(100):
        assert not world.keys.renewed()
    assert len(world.asked) == 2
    world.now += PAUSE_S
    world.issuer.rotate()
    assert world.keys.renewed()
    assert len(world.names()) == 2
    assert len(world.asked) == 4


def test_old_keys_are_fetched_again_and_kept_if_the_issuer_is_away(world: World) -> None:
    world.keys.renewed()
    world.error = ConnectionRefusedError("refused")
    world.now += FRESH_S + 1
    assert len(world.names()) == 1
    assert len(world.asked) == 3
    assert len(world.names()) == 1
    assert len(world.asked) == 3, "at most once a minute"
    world.now += STALE_S
    assert world.names() == set()
    with pytest.raises(Unavailable, match=r"login\.example\.com cannot be fetched now.*refused"):
        world.keys.renewed()
    world.error = None
    world.now += RETRY_S
    assert world.keys.renewed()


def test_a_key_that_the_issuer_withdrew_is_gone_within_the_hour(world: World) -> None:
    world.keys.renewed()
    before = world.names()
    world.issuer.rotate()
    published = world.issuer.jwks()
    world.documents["https://login.example.com/.well-known/jwks.json"] = lambda: {"keys": published["keys"][1:]}
    world.now += FRESH_S + 1
    assert world.names().isdisjoint(before)


@pytest.mark.parametrize(
    ("discovery", "keys", "message"),
    [
        ({"issuer": "https://other.example.com"}, None, "of another issuer"),
        ({"issuer": "https://login.example.com"}, None, "no jwks_uri"),
        (b"<html>", None, "no JSON"),
        (b"[1]", None, "no JSON object"),
        (b"[" * 100_000, None, "no JSON"),
        (None, {"keys": "none"}, "no keys"),
        (None, {"keys": []}, "has no key"),
        (None, {"keys": [{"kty": "oct", "k": "AA", "kid": "x"}]}, "has no key"),
        (None, {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA", "kid": "x"}]}, "not a public key"),
    ],
    ids=["other issuer", "no uri", "html", "a list", "deep", "no list", "empty", "a shared secret", "a private key"],
)
def test_an_invalid_key_set_is_refused(world: World, discovery: Any, keys: Any, message: str) -> None:
    first, second = world.documents
    if discovery is not None:
        world.documents[first] = lambda: discovery
    if keys is not None:
        world.documents[second] = lambda: keys
    with pytest.raises(Unavailable, match=message):
        world.keys.renewed()


def test_keys_for_encryption_are_ignored(world: World) -> None:
    second = list(world.documents)[1]
    world.documents[second] = lambda: {
        "keys": [
            {"kty": "RSA", "use": "enc", "kid": "other"},
            {"kty": "EC", "crv": "P-521"},
            *world.issuer.jwks()["keys"],
        ]
    }
    assert world.keys.renewed()
    assert len(world.names()) == 1


def test_concurrent_fetches_make_one_request(world: World) -> None:
    started, go = threading.Barrier(8), threading.Event()
    real = world.fetch

    def slow(url: str, timeout_s: float) -> bytes:
        go.wait(10)
        return real(url, timeout_s)

    world.keys._fetch = slow

    def ask() -> None:
        started.wait(10)
        world.keys.renewed()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(10)
    assert len(world.asked) == 2


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *arguments: Any) -> None: ...

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}"
    finally:
        running.shutdown()
        running.server_close()
        thread.join(10)


def _redirect(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/")
    handler.end_headers()


def _huge(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x" * 10_000)


def _drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        let_time_pass(0.05)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(_redirect, ValueError), (_huge, (ValueError, ConnectionError)), (_drip, TimeoutError)],
    ids=["redirects", "huge", "drips"],
)
def test_an_issuer_that_misbehaves_is_refused(answer: Any, error: Any) -> None:
    with server(answer) as url, pytest.raises(error):
        fetched(url + "/x", 0.5)


@pytest.mark.parametrize("url", ["http://login.example.com/keys", "file:///etc/passwd", "https://a@b.example/x", "x"])
def test_an_unsafe_url_is_not_fetched(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address|is not encrypted"):
        fetched(url, 0.5)


@pytest.fixture
def issuer() -> Iterator[TokenIssuer]:
    with token_issuer() as running:
        yield running


@pytest.fixture
def stack(make_stack: Callable[..., Stack], issuer: TokenIssuer) -> Stack:
    return make_stack(real_time=True, issuer=issuer.url, audience=AUDIENCE, token_keys={})


def ask(stack: Stack, token: str = "", path: str = PATH, method: str = "POST") -> tuple[int, str]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    request = Request(method=method, path=path, headers=headers, received_at=time.time(), id="r", body=b"{}")
    answer = stack.service.answer(request)
    return answer.status, answer.body.decode()


def test_a_service_accepts_the_issuers_tokens(stack: Stack, issuer: TokenIssuer) -> None:
    assert ask(stack)[0] == 401
    right = issuer.issue("somebody", AUDIENCE, ["flights:infer"])
    assert ask(stack, right)[0] == 404, "let in: there is no such use case"
    status, body = ask(stack, issuer.issue("somebody", AUDIENCE, ["other:infer"]))
    assert (status, "get one from the issuer" in body) == (403, True)
    assert ask(stack, issuer.issue("somebody", "another", ["flights:infer"]))[0] == 401
    issuer.rotate()
    stack.service._others._tried_at -= PAUSE_S  # type: ignore[union-attr]
    assert ask(stack, issuer.issue("somebody", AUDIENCE, ["flights:infer"]))[0] == 404
    assert ask(stack, right)[0] == 404


def replace_key(issuer: TokenIssuer) -> None:
    """Let the issuer sign with a new key, and publish the old one no longer."""
    issuer.rotate()
    del issuer._keys[0]


def test_a_token_that_a_withdrawn_key_signed_is_not_accepted_from_memory(stack: Stack, issuer: TokenIssuer) -> None:
    token = issuer.issue("somebody", AUDIENCE, ["flights:infer"])
    assert ask(stack, token)[0] == 404, "accepted, and remembered"
    replace_key(issuer)
    newer = issuer.issue("somebody", AUDIENCE, ["flights:infer"])
    stack.service._others._tried_at -= PAUSE_S  # type: ignore[union-attr]
    assert ask(stack, newer)[0] == 404, "an unknown key: the issuer's keys are fetched again"
    assert ask(stack, token)[0] == 401


def test_a_remembered_token_is_refused_once_the_hourly_look_finds_its_key_withdrawn(
    stack: Stack, issuer: TokenIssuer
) -> None:
    token = issuer.issue("somebody", AUDIENCE, ["flights:infer"])
    assert ask(stack, token)[0] == 404, "accepted, and remembered"
    replace_key(issuer)
    keys: Any = stack.service._others
    keys._tried_at -= FRESH_S + 1
    keys._fetched_at -= FRESH_S + 1
    assert ask(stack, token)[0] == 401


def test_a_malformed_token_is_refused_without_a_fetch(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(issuer_keys, "fetched", lambda url, timeout_s: asked.append(url))
    with token_issuer() as stranger:
        assert ask(stack, stranger.issue("somebody", AUDIENCE, ["flights:infer"]))[0] == 401
    assert ask(stack, "x.y.z")[0] == 401
    assert asked == []


def test_without_any_key_the_answer_is_503(make_stack: Callable[..., Stack], issuer: TokenIssuer) -> None:
    stack = make_stack(real_time=True, issuer="http://127.0.0.1:1", audience=AUDIENCE, token_keys={})
    issuer.url = "http://127.0.0.1:1"
    status, body = ask(stack, issuer.issue("somebody", AUDIENCE, ["flights:infer"]))
    assert (status, "cannot be fetched now" in body) == (503, True)


def test_a_stack_with_another_issuer_publishes_no_keys(stack: Stack, issuer: TokenIssuer) -> None:
    for path in ("/.well-known/jwks.json", "/.well-known/openid-configuration"):
        status, body = ask(stack, path=path, method="GET")
        assert (status, issuer.url in body) == (404, True)
    assert jwks([]) == {"keys": []}
