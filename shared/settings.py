"""The settings of one stack: everything that differs between two installations of the same code."""

from typing import ClassVar

import msgspec

from shared.documents import Document
from shared.errors import ConfigurationError, IntegrityError, Unsupported


class Stores(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The URLs of the three logical stores ("file:///var/lib/tidegate/system")."""

    landing: str
    system: str
    capture: str


class Settings(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stack's settings.

    `stores` and the five fields below it are URLs of ports (adapters.urls); a local stack's are relative to its home.
    `issuer` and `audience`: those that an accepted token must have. `trust_roots`: key id -> public signing key
    (base64url of the raw 32 bytes); a model is loaded only if one of them signed it. `token_keys`: the same for tokens;
    if empty, the keys that `issuer` publishes (OpenID Connect). Sizes in bytes, times in seconds.
    """

    FORMAT: ClassVar[tuple[str, int]] = ("settings", 1)

    stack: str
    stores: Stores
    queues: str
    jobs: str = "file:jobs"
    metrics: str = "file:metrics"
    limits: str = "file:limits"
    secrets: str = "file:secrets"
    issuer: str
    audience: str
    trust_roots: dict[str, str]
    token_keys: dict[str, str]
    place: str = "here"
    placement: dict[str, str] = {}
    """Function -> the `place` where it runs, in a stack that is spread over several. By default all run here."""
    host: str = "127.0.0.1"
    port: int = 8080
    tls_certificate: str = ""
    """Local stacks: PEM files of the certificate and its key, relative to the home. Without both it serves HTTP."""
    tls_key: str = ""
    train_code_digest: str = ""
    """Digests of the train unit's code and of its libraries' versions. The runtime fills them in."""
    train_libraries_digest: str = ""
    max_upload_bytes: int = 256 << 20
    """The largest file that is accepted over HTTP. Put larger ones into the landing store."""
    max_inline_bytes: int = 64 << 20
    """The largest file that `validate` reads as a function, by its memory (shared.topology); a job validates others."""
    max_file_bytes: int = 2 << 30
    """The largest file that is validated. Larger ones are refused and stay in landing."""
    max_request_bytes: int = 6 * 1024 * 1024
    max_rows: int = 10_000
    release_ttl_s: float = 5.0
    """How long a process that serves a champion may go without reading the releases ledger again."""
    settle_s: float = 2.0
    """How long a file in a drop folder must be unchanged before it is read."""
    monitor_every_s: float = 60.0
    reconcile_every_s: float = 5.0
    poll_every_s: float = 5.0
    """How often a landing store that cannot send events to this place is listed."""
    lease_s: float = 10.0
    """The length of a local worker's lease on a message. The worker renews it while the handler runs."""
    header_timeout_s: float = 10.0
    """How long the local gateway waits for a request's headers, and for the first bytes of its body."""
    stop_timeout_s: float = 10.0
    """How long a process that is stopped may take to finish its current work."""
    check_memory_mb: int = 2048
    check_timeout_s: float = 30.0
    max_restart_delay_s: float = 10.0
    """The longest delay before a process that keeps failing is restarted."""


def read_settings(body: bytes, source: str = "settings") -> Settings:
    """Return the settings that `body` holds.

    Args: source: the file or variable that it comes from, for messages.
    Raises: Unsupported: a newer format than ours. ConfigurationError: no format, another format, or an invalid key.
    """
    try:
        return Settings.decode(body)
    except Unsupported as error:
        raise Unsupported(f"{source}: {error.message}") from error
    except IntegrityError as error:
        raise ConfigurationError(f"{source}: {error.message}; correct it, or restore it from a backup") from error
