"""Settings of one stack: what differs between two installations of the same code. Read by the runtimes, held here."""

from typing import ClassVar

import msgspec

from shared.documents import Document
from shared.errors import ConfigurationError, IntegrityError, Unsupported


class Stores(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the three logical stores are, as URLs ("file:///var/lib/tidegate/system")."""

    landing: str
    system: str
    capture: str


class Settings(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stack's settings.

    `stores` and the five below it are the ports as URLs (adapters.urls); a local stack's are relative to its home.
    `issuer` and `audience`: whose tokens are accepted, and for whom they must be made. `trust_roots`: key id to
    public signing key (base64url of the raw 32 bytes): only models signed by one of them are loaded, whatever the
    store says. `token_keys`: the same for tokens; with none, the keys that `issuer` publishes (OpenID Connect) count.
    Sizes in bytes, times in seconds.
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
    """Function -> the `place` where it runs, for a stack that is spread over several; by default all run here."""
    host: str = "127.0.0.1"
    port: int = 8080
    tls_certificate: str = ""
    """Of a local stack: PEM files of the certificate and of its key, from its home; without both it speaks HTTP."""
    tls_key: str = ""
    train_code_digest: str = ""
    """Digest of the train unit that jobs run, and of the versions of the libraries in it; the runtime fills them in."""
    train_libraries_digest: str = ""
    max_upload_bytes: int = 256 << 20
    """The largest file that is taken over HTTP; larger ones are put into the landing store."""
    handover_bytes: int = 64 << 20
    """Larger files are validated by a job: what fits the memory of `validate` as a function (shared.topology)."""
    max_file_bytes: int = 2 << 30
    """The largest file that is read at all."""
    max_request_bytes: int = 6 * 1024 * 1024
    max_rows: int = 10_000
    release_ttl_s: float = 5.0
    """How long a process that serves a champion may go without reading the releases ledger again."""
    settle_s: float = 2.0
    """How long a file dropped by hand must be unchanged before it is read."""
    monitor_every_s: float = 60.0
    reconcile_every_s: float = 5.0
    poll_every_s: float = 5.0
    """How often a landing store that cannot tell this place of new objects is looked at."""
    lease_s: float = 10.0
    """How long a local worker borrows a message at a time; it is borrowed on while its handler runs."""
    head_timeout_s: float = 10.0
    """How long the local gateway waits for a request's head, and for the first bytes of its body."""
    stop_s: float = 10.0
    """How long a process that is asked to stop may finish what it has in hand."""
    check_memory_mb: int = 2048
    check_timeout_s: float = 30.0
    restart_pause_s: float = 10.0
    """The longest pause before a process that keeps dying is started again."""


def read_settings(body: bytes, source: str = "settings") -> Settings:
    """Return the settings that `body` holds.

    Args: source: the file or the variable that it comes from, for messages.
    Raises: Unsupported: a newer format than ours. ConfigurationError: no format, another one, or a key that is wrong.
    """
    try:
        return Settings.decode(body)
    except Unsupported as error:
        raise Unsupported(f"{source}: {error.message}") from error
    except IntegrityError as error:
        raise ConfigurationError(f"{source}: {error.message}; correct it, or restore it from a backup") from error
