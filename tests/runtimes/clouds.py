"""What the tests of the clouds' runtimes share: a signed-off use case, a good file, and an environment."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.urls import open_store
from functions.runtimes.environment import FUNCTION, SETTINGS
from shared.documents import digest_of, encode
from shared.ports import ObjectStore
from shared.serving.access import issue
from shared.settings import Settings, Stores
from shared.usecase.charter import CharterVersion, Signature
from shared.usecase.effective import charters
from tests.runtimes.conftest import TOKENS, settings
from tests.simulation.material import CHARTER, MONTHS, USECASE

GOOD = MONTHS["2013-01"]
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send a request, its path as it is."""
    asked = urllib.request.Request(url + path, data=body, method=method, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT_S) as answer:
            return Answer(answer.status, _lowered(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _lowered(error.headers), error.read())


def lines_of(log: str, message: str) -> list[dict[str, Any]]:
    """Return a log's lines of ours that say `message`."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith('{"time"')]
    return [line for line in lines if line["message"] == message]


def on_disk(folder: Any, **changes: Any) -> Settings:
    """Return the settings of a stack in a folder; `changes` put ports elsewhere."""
    given: dict[str, Any] = {
        "stores": Stores(**{name: f"file://{folder}/{name}" for name in ("landing", "system", "capture")}),
        "queues": f"sqlite://{folder}/queues.db",
        **{port: f"file://{folder}/{port}" for port in ("jobs", "metrics", "limits", "secrets")},
    }
    return settings(**{**given, **changes})


def environ(functions: str, given: Settings, **more: str) -> dict[str, str]:
    """Return a deployment's environment."""
    return {SETTINGS: encode(given).decode(), FUNCTION: functions, **more}


def sign_off(given: Settings) -> ObjectStore:
    """Let the use case have a charter in effect; returns the system store."""
    system = open_store(given.stores.system)
    signatures = tuple(Signature(role, "somebody", 0.0) for role in CHARTER.sign_off)
    version = CharterVersion(charter=CHARTER, digest=digest_of(encode(CHARTER)), signatures=signatures)
    charters(system, USECASE).append(lambda _: version)
    return system


def bearer(given: Settings, *scopes: str) -> Mapping[str, str]:
    """Return the header with a token of the stack's own issuer."""
    token = issue(
        private_pem=TOKENS,
        issuer=given.issuer,
        audience=given.audience,
        subject="tester",
        scopes=scopes,
        now=time.time(),
        lifetime_s=600.0,
    )
    return {"authorization": f"Bearer {token}"}


def receipts(system: ObjectStore) -> list[str]:
    """Return the keys of the use case's receipts."""
    return [info.key for info in system.list(f"receipts/{USECASE}/")]


def _lowered(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
