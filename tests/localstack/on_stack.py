"""What the tests of the emulated stacks share: how clients ask, how an outsider drops a file, who runs below us."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from functions.validate import receipt_id_of
from localstack.stacks.emulated import EmulatedStack
from shared import layout
from shared.platform import Platform
from shared.serving.routes import ROUTES
from tests.runtimes.clouds import GOOD, receipts, sign_off
from tests.simulation.material import USECASE as CHARTERED
from tests.waiting import alive, below, steady, until

USECASE = "unsigned"
"""Has no charter."""
TIMEOUT_S = 90.0
QUIET_S = 2.0


@contextmanager
def nothing_left() -> Iterator[Callable[[], None]]:
    """Assert that of the processes that were started in the block none is there at its end.

    Yields what looks who runs now: whoever lost its parent in the meantime is found only if it was seen before.
    """
    before = set(below(os.getpid()))
    seen: set[int] = set()

    def look() -> None:
        seen.update(set(below(os.getpid())) - before)

    yield look
    look()
    assert not [pid for pid in seen if alive(pid)]


def ask(stack: EmulatedStack, method: str, path: str, body: bytes | None = None, *scopes: str) -> tuple[int, Any]:
    """Return the status and the JSON of an answer. Args: scopes: of the token that is sent along, none for no token."""
    headers = {"authorization": f"Bearer {stack.issue('tester', scopes, 600.0)}"} if scopes else {}
    asked = urllib.request.Request(stack.url + path, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
            return error.code, json.loads(text) if text else None


def rested(stack: EmulatedStack, function: str) -> int:
    """Return how often a function was called, once nothing of what went before is on its way to it any more."""
    return steady(lambda: stack.invocations()[function], QUIET_S)


def drop(platform: Platform, name: str) -> None:
    """Put a file into the landing store, and wait for its receipt. Without a charter, all files are quarantined."""
    key = layout.DROPS.key(usecase=USECASE, name=name)
    platform.landing.put_new(key, f"level,at\n1,{name}\n".encode())
    info = platform.landing.head(key)
    assert info is not None
    receipt = layout.RECEIPTS.key(usecase=USECASE, receipt=receipt_id_of(key, info.etag))
    until(lambda: platform.system.head(receipt) is not None, TIMEOUT_S)
    assert json.loads(platform.system.get(receipt).body)["state"] == "quarantined"


def heard_of_twice_and_judged_once(stack: EmulatedStack, platform: Platform) -> None:
    """Assert that an upload over HTTP, which also gives a storage event, is validated once."""
    sign_off(stack.settings)
    counted, before = stack.invocations(), receipts(platform.system)
    scopes = (f"{CHARTERED}:upload", f"{CHARTERED}:read")
    status, document = ask(stack, "PUT", f"/v1/usecases/{CHARTERED}/uploads/january%20a.csv", GOOD, *scopes)
    assert status == 202, document
    until(lambda: ask(stack, "GET", document["href"], None, *scopes)[0] == 200, TIMEOUT_S)
    assert ask(stack, "GET", document["href"], None, *scopes)[1]["state"] == "accepted"
    until(lambda: stack.invocations()["validate"] >= counted["validate"] + 2, TIMEOUT_S)
    assert len(receipts(platform.system)) == len(before) + 1
    until(lambda: stack.invocations()["trigger"] > counted["trigger"], TIMEOUT_S)
    until(lambda: stack.invocations()["uploads"] > counted["uploads"], TIMEOUT_S)


def every_route_is_answered(stack: EmulatedStack) -> None:
    """Assert that one address answers all routes, each asking for a token where its table says so."""
    assert ask(stack, "GET", "/v2/health/live") == (200, {"live": True})
    for route in ROUTES:
        path = route.path.format(usecase=USECASE, n=1, name="a.csv", receipt="0" * 64)
        status, document = ask(stack, route.method, path, None if route.method == "GET" else b"{}")
        assert status == (401 if route.action else 200), (route, document)
    assert ask(stack, "GET", "/openapi.json")[1]["servers"][0]["url"] == stack.url
    assert ask(stack, "GET", "/nowhere")[0] == 404


def environments(stack: EmulatedStack) -> list[dict[str, str]]:
    """Return the environments of the processes below this one that are functions of the stack."""
    key = next(iter(stack.settings.trust_roots))  # other tests' functions may run beside them
    found = map(_environment_of, below(os.getpid()))
    return [given for given in found if "TIDEGATE_FUNCTION" in given and key in given.get("TIDEGATE_SETTINGS", "")]


def _environment_of(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode()
    except OSError:
        return {}
    return dict(each.split("=", 1) for each in text.split("\0") if "=" in each)
