"""The common parts of emulated stacks: keys, settings, the functions' environment, and tokens."""

import base64
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from functions.runtimes.compose import compose, with_training_digests
from functions.runtimes.environment import FUNCTION, SETTINGS
from shared.documents import encode
from shared.platform import Platform
from shared.registry.signatures import generate, key_id_of, public_of
from shared.serving.access import issue
from shared.settings import Settings, Stores

ROOT = Path(__file__).resolve().parents[2]
NO_LOCAL = Path(__file__).with_name("no_local")
"""A folder on the path of the functions' processes that makes imports of local adapters and runtimes fail."""
MAX_UPLOAD_BYTES = 4_500_000
"""Fits a synchronous call of 6 MB in base64. Larger files are put into the landing store directly."""
SIGNING_KEY = "signing-key"


@dataclass(frozen=True)
class Keys:
    """The stack's two private keys (PEM): models are signed with one, tokens with the other."""

    signing: bytes = field(default_factory=lambda: generate(os.urandom(32)))
    token: bytes = field(default_factory=lambda: generate(os.urandom(32)))


@dataclass(frozen=True)
class EmulatedStack:
    """A served stack. `environment`: variables with the emulators' addresses and credentials.

    `invocations`: function -> calls, as the emulator or host counts them.
    """

    provider: str
    url: str
    settings: Settings
    keys: Keys
    environment: Mapping[str, str]
    logs: Path
    invocations: Callable[[], dict[str, int]]

    def platform(self) -> Platform:
        """Return the stack's ports, without grants, as an operator has them. Sets `environment` in this process."""
        os.environ.update(self.environment)
        return compose(self.settings, "operator").platform

    def issue(self, subject: str, scopes: Sequence[str], lifetime_s: float) -> str:
        """Return a token of the stack's issuer."""
        settings = self.settings
        return issue(self.keys.token, settings.issuer, settings.audience, subject, scopes, time.time(), lifetime_s)


def settings_for(
    provider: str,
    keys: Keys,
    *,
    stores: Stores,
    queues: str,
    jobs: str,
    metrics: str,
    limits: str,
    secrets: str,
) -> Settings:
    """Return an emulated stack's settings, with the digests that a granted training records."""
    return with_training_digests(
        Settings(
            stack=f"emulated-{provider}",
            stores=stores,
            queues=queues,
            jobs=jobs,
            metrics=metrics,
            limits=limits,
            secrets=secrets,
            issuer=f"https://{provider}.tidegate.example",
            audience=f"tidegate:emulated-{provider}",
            trust_roots={key_id_of(keys.signing): _public(keys.signing)},
            token_keys={key_id_of(keys.token): _public(keys.token)},
            max_upload_bytes=MAX_UPLOAD_BYTES,
            monitor_every_s=0.0,  # the demo requests each month's evaluation itself; schedules have tests of their own
            reconcile_every_s=30.0,
        )
    )


def function_environment(settings: Settings, function: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a function's or job's process: a deployment's variables, without local modules."""
    return {
        **environment,
        SETTINGS: encode(settings).decode(),
        FUNCTION: function,
        "PYTHONPATH": os.pathsep.join((str(NO_LOCAL), str(ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _public(private_pem: bytes) -> str:
    return base64.urlsafe_b64encode(public_of(private_pem)).rstrip(b"=").decode()
