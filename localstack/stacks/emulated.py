"""What every emulated stack has: keys, settings, the environment of its functions' processes, and tokens."""

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
"""On the path of the functions' processes: makes every import of a local adapter or runtime fail."""
MAX_UPLOAD_BYTES = 4_500_000
"""What fits a synchronous call of 6 MB once it is base64; larger files go straight into the landing store."""
SIGNING_KEY = "signing-key"


@dataclass(frozen=True)
class Keys:
    """The stack's two private keys (PEM): models are signed with one, tokens with the other."""

    signing: bytes = field(default_factory=lambda: generate(os.urandom(32)))
    token: bytes = field(default_factory=lambda: generate(os.urandom(32)))


@dataclass(frozen=True)
class EmulatedStack:
    """A served stack. `environment`: what a process needs to reach the emulators, credentials of no worth included.

    `invocations`: function -> how often it was called, by the emulator's or host's own count.
    """

    provider: str
    url: str
    settings: Settings
    keys: Keys
    environment: Mapping[str, str]
    logs: Path
    invocations: Callable[[], dict[str, int]]

    def platform(self) -> Platform:
        """Return the stack's ports, whole, as an operator has them. Puts `environment` into this process's."""
        os.environ.update(self.environment)
        return compose(self.settings, "operator").platform

    def issue(self, subject: str, scopes: Sequence[str], lifetime_s: float) -> str:
        """Return a token of the stack's own issuer."""
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
    """Return an emulated stack's settings, with the digests that whoever grants a training writes down."""
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
            monitor_every_s=0.0,  # the demo asks for each month's judgement itself; schedules fire where they are tried
            reconcile_every_s=30.0,
        )
    )


def function_environment(settings: Settings, function: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a function's or job's process: what a deployment sets, and no way to anything local."""
    return {
        **environment,
        SETTINGS: encode(settings).decode(),
        FUNCTION: function,
        "PYTHONPATH": os.pathsep.join((str(NO_LOCAL), str(ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _public(private_pem: bytes) -> str:
    return base64.urlsafe_b64encode(public_of(private_pem)).rstrip(b"=").decode()
