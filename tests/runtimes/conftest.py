"""A platform in memory, and tokens of its own issuer."""

import base64
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adapters.memory.clock import SeededIds
from adapters.memory.world import MemoryWorld
from functions.runtimes.http import Service
from functions.runtimes.telemetry import Telemetry
from shared.platform import Platform, ProcessCache
from shared.registry.signatures import generate, key_id_of, public_of
from shared.serving.access import issue
from shared.serving.subprocess_check import check_in_subprocess
from shared.settings import Settings, Stores
from shared.topology import FUNCTIONS, queue_names

SIGNING = generate(bytes(range(32)))
TOKENS = generate(bytes(range(32, 64)))


class RealClock:
    """Real time: for servers under test."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def settings(**changes: Any) -> Settings:
    def public(private: bytes) -> dict[str, str]:
        return {key_id_of(private): base64.urlsafe_b64encode(public_of(private)).rstrip(b"=").decode()}

    given: dict[str, Any] = {
        "stack": "test",
        "stores": Stores(landing="memory:", system="memory:", capture="memory:"),
        "queues": "memory:",
        "issuer": "http://127.0.0.1:8080",
        "audience": "tidegate:test",
        "trust_roots": public(SIGNING),
        "token_keys": public(TOKENS),
    }
    return Settings(**{**given, **changes})


@dataclass
class Stack:
    """A platform over memory, a service on it, and what it logged."""

    world: MemoryWorld
    platform: Platform
    lines: list[dict[str, Any]] = field(default_factory=list)
    telemetry: Telemetry = field(init=False)
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        self.telemetry = Telemetry(self.platform.metrics, "gateway")
        self.service = Service(self.platform, self.telemetry, address="http://127.0.0.1:9", log=self.log)

    def log(self, message: str, **fields: object) -> None:
        self.lines.append({"message": message, **fields})

    def token(self, *scopes: str, lifetime_s: float = 600.0, **changes: Any) -> str:
        given: dict[str, Any] = {
            "private_pem": TOKENS,
            "issuer": self.platform.settings.issuer,
            "audience": self.platform.settings.audience,
            "subject": "tester",
            "scopes": scopes,
            "now": self.platform.clock.now(),
            "lifetime_s": lifetime_s,
        }
        return issue(**{**given, **changes})


def new_stack(*, real_time: bool = False, secrets: Sequence[str] = ("signing-key",), **changes: Any) -> Stack:
    world = MemoryWorld(secrets=dict.fromkeys(secrets, SIGNING))
    platform = Platform(
        landing=world.landing,
        system=world.system,
        capture=world.capture,
        queues={name: world.queue(name) for name in queue_names()},
        jobs=world.jobs,
        metrics=world.metrics,
        limits=world.limits,
        secrets=world.secrets,
        clock=RealClock() if real_time else world.clock,
        ids=SeededIds(7),
        settings=settings(**changes),
        check_model=check_in_subprocess,
        instance="test",
        cache=ProcessCache(release_ttl_s=5.0),
    )
    return Stack(world, platform)


@pytest.fixture
def make_stack() -> Callable[..., Stack]:
    return new_stack


@pytest.fixture
def stack() -> Stack:
    return new_stack()


@pytest.fixture
def all_functions() -> tuple[Any, ...]:
    return FUNCTIONS


@pytest.fixture
def serve(make_stack: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Return a function that starts a gateway; its keywords are settings. Each stops with the test."""
    from tests.runtimes.gateway_client import Served

    with contextlib.ExitStack() as ends:

        def start(pair: tuple[Path, Path] | None = None, **changes: Any) -> Served:
            served = Served(
                make_stack(real_time=True, **{"header_timeout_s": 10.0, "stop_timeout_s": 5.0, **changes}), pair
            )
            ends.callback(served.stop)
            return served

        yield start
