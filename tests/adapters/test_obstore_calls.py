"""obstore's clients by timeout, and calls that a signal interrupts."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from adapters import deadlines
from adapters.aws.store import from_url
from adapters.obstore_calls import TIMEOUTS_S, ClientPool, interruptible
from adapters.obstore_store import ObstoreStore
from shared.errors import DeadlineExceeded, OutcomeUnknown, TransientError, Unavailable
from tests.conformance.aws_rigs import account


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            try:
                while True:
                    taken.append(server.accept()[0])
            except OSError:
                for each in taken:
                    each.close()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.fixture
def store(silent: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObstoreStore]:
    monkeypatch.setattr(deadlines, "LONGEST_PAUSE_S", 1e9)  # no retries
    monkeypatch.setattr(deadlines, "FIRST_PAUSE_S", 1e9)
    with account():
        yield from_url(f"s3://b?region=eu-west-1&endpoint=http://127.0.0.1:{silent}")


def test_one_client_is_created_for_each_timeout() -> None:
    made: list[float] = []
    clients = ClientPool(lambda timeout_s: made.append(timeout_s) or len(made))
    assert [clients.client(left_s) for left_s in (29.9, 22.5, 0.01, 30.0, 67.0, 1e9)] == [1, 1, 2, 1, 3, 4]
    assert made == [20.0, 0.1, 62.5, TIMEOUTS_S[-1]]
    assert list(TIMEOUTS_S) == sorted(TIMEOUTS_S)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (lambda store: store.get("k", timeout_s=0.3), Unavailable),
        (lambda store: store.head("k", timeout_s=0.3), Unavailable),
        (lambda store: list(store.list(timeout_s=0.3)), Unavailable),
        (lambda store: store.delete("k", timeout_s=0.3), OutcomeUnknown),
        (lambda store: store.put("k", b"1", timeout_s=0.3), OutcomeUnknown),
        (lambda store: store.put_new("k", b"1", timeout_s=0.3), OutcomeUnknown),
    ],
)
def test_calls_without_an_answer_time_out(
    store: ObstoreStore, operation: Callable[[ObstoreStore], object], kind: type[TransientError]
) -> None:
    with pytest.raises((kind, DeadlineExceeded) if kind is Unavailable else kind):
        operation(store)


def test_a_signal_interrupts_the_main_thread() -> None:
    held, ended = threading.Event(), threading.Event()

    def call() -> None:
        timer.start()
        held.wait(60.0)
        ended.set()

    timer = threading.Timer(0.1, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    # Another test or the parent process may have left another handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            interruptible(call)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not ended.is_set()
    held.set()
    assert ended.wait(60.0)


def test_interruptible_returns_or_raises_like_the_call() -> None:
    assert interruptible(lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)
