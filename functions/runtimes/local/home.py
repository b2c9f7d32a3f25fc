"""The home folder: all the state of one local stack, and the only thing to back up, move or delete.

    settings.json    the stack's settings; written last, so a home that has it is complete
    secrets/         0700, one file of 0600 per secret: signing-key and token-key (Ed25519, PEM)
    landing/ system/ capture/    the three logical stores
    queues.db        the queues      jobs/ jobs' folders      metrics/ limits/ logs/ run/ (who runs now)

URLs in the settings are relative to the home ("file:system"), so a home that was moved or copied never reads or writes
the one that it came from.

The issuer of the stack's tokens is a URL, as OpenID Connect requires, with the port that the home was created for. It
does not change when the gateway listens elsewhere, because it is compared as a name. The keys are at the discovery
document's jwks_uri, which always has the present address.
"""

import base64
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec

from functions.runtimes.local.files import sync_folder, write_once
from shared.documents import encode
from shared.errors import ConfigurationError, Unavailable
from shared.registry.signatures import generate, key_id_of, public_of
from shared.settings import Settings, Stores, read_settings

DEFAULT_HOME = ".tidegate"
SETTINGS = "settings.json"
SECRETS = "secrets"
SIGNING_KEY = "signing-key"
TOKEN_KEY = "token-key"  # noqa: S105 - the name of a file
_LOST = {
    SIGNING_KEY: ("trust_roots", "models that the lost key signed still load, new ones are signed with the new key"),
    TOKEN_KEY: ("token_keys", "tokens of the lost key hold until they expire, new ones are made with the new key"),
}
"""Key -> the setting that trusts it, and the consequence of replacing it."""
STORES = ("landing", "system", "capture")
FOLDERS = (*STORES, "jobs", "limits", "metrics", "logs", "run")


class Home(msgspec.Struct, frozen=True):
    """An opened home: its absolute path, and its settings with absolute URLs."""

    path: Path
    settings: Settings

    @property
    def run(self) -> Path:
        """The folder of the files about the processes that serve this home now."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.path / "logs"

    def secret(self, name: str) -> bytes:
        """Return a secret of this home. Raises: ConfigurationError: it is lost. Unavailable: it cannot be read."""
        try:
            return (self.path / SECRETS / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigurationError(_lost(name)) from error
        except OSError as error:
            raise Unavailable(
                f"{SECRETS}/{name} of the home at {self.path} cannot be read: {error.strerror}; run as its owner",
                provider="local",
            ) from error


def create_home(
    path: Path,
    *,
    stack: str = "local",
    host: str = "127.0.0.1",
    port: int = 8080,
    entropy: Callable[[int], bytes] = secrets.token_bytes,
) -> Home:
    """Create the home, or complete one that was partly created, and return it. A complete home is not changed.

    Args: stack: its name; the audience of its tokens is "tidegate:<stack>". port: the default port, 0 for any free
        one. entropy: n -> n random bytes, for the keys.
    Raises: ConfigurationError: a file is in the way, or a key of the existing home is lost. Unavailable: the place
        cannot be written.
    """
    path = path.absolute()
    try:
        if (path / SETTINGS).exists():
            home = open_home(path)
            check_secrets(home)
            return home
        path.mkdir(parents=True, exist_ok=True)
        for folder in FOLDERS:
            (path / folder).mkdir(exist_ok=True)
        (path / SECRETS).mkdir(mode=0o700, exist_ok=True)
        (path / SECRETS).chmod(0o700)
        signing = write_once(path / SECRETS / SIGNING_KEY, generate(entropy(32)), mode=0o600)
        token = write_once(path / SECRETS / TOKEN_KEY, generate(entropy(32)), mode=0o600)
        settings = Settings(
            stack=stack,
            stores=Stores(landing="file:landing", system="file:system", capture="file:capture"),
            queues="sqlite:queues.db",
            issuer=f"http://{host}:{port}" if port else f"http://{host}",
            audience=f"tidegate:{stack}",
            trust_roots={key_id_of(signing): _public(signing)},
            token_keys={key_id_of(token): _public(token)},
            host=host,
            port=port,
        )
        write_once(path / SETTINGS, msgspec.json.format(encode(settings), indent=2) + b"\n")
        sync_folder(path.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigurationError(
            f"cannot create a home at {path}: a file is in its way; choose another place with --home"
        ) from error
    except OSError as error:
        raise Unavailable(
            f"cannot create a home at {path}: {error.strerror}; make it writable, or choose another place with --home",
            provider="local",
        ) from error
    return open_home(path)


def open_home(path: Path) -> Home:
    """Return the home at `path`.

    Raises: ConfigurationError: there is none, or its settings are invalid. Unsupported: a newer Tidegate wrote them.
        Unavailable: they cannot be read.
    """
    path = path.absolute()
    try:
        settings = read_settings((path / SETTINGS).read_bytes(), str(path / SETTINGS))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigurationError(f"no Tidegate home at {path}: run `tidegate init`") from error
    except OSError as error:
        raise Unavailable(
            f"the home at {path} cannot be read: {error.strerror}; run as its owner", provider="local"
        ) from error
    stores = settings.stores
    return Home(
        path,
        msgspec.structs.replace(
            settings,
            stores=Stores(
                landing=absolute(stores.landing, path),
                system=absolute(stores.system, path),
                capture=absolute(stores.capture, path),
            ),
            queues=absolute(settings.queues, path),
            jobs=absolute(settings.jobs, path),
            metrics=absolute(settings.metrics, path),
            limits=absolute(settings.limits, path),
            secrets=absolute(settings.secrets, path),
        ),
    )


def check_secrets(home: Home) -> None:
    """Check that the home has the keys that its settings trust.

    Raises: ConfigurationError: a key is lost or is not the trusted one, so its signatures would not be accepted.
        Unavailable: a key cannot be read.
    """
    for name, trusted, field in (
        (SIGNING_KEY, home.settings.trust_roots, "trust_roots"),
        (TOKEN_KEY, home.settings.token_keys, "token_keys"),
    ):
        if not trusted and name == TOKEN_KEY:
            continue  # this stack accepts another issuer's tokens
        key = key_id_of(home.secret(name))
        if key not in trusted:
            raise ConfigurationError(
                f"{SECRETS}/{name} of the home is not among the {field} of its {SETTINGS}: restore the key that "
                f"belongs to it, or add an entry for this one to {field}"
            )


def absolute(url: str, home: Path) -> str:
    """Return a URL of the settings with an absolute path. URLs without a local path are returned unchanged.

    >>> absolute("file:system", Path("/var/lib/tidegate"))
    'file:///var/lib/tidegate/system'
    >>> absolute("s3://bucket/system", Path("/var/lib/tidegate"))
    's3://bucket/system'
    """
    scheme, _, place = url.partition(":")
    if scheme in ("file", "sqlite") and place and not place.startswith("/"):
        return f"{scheme}://{quote(str(home / place))}"
    return url


def issue_token(home: Home, subject: str, scopes: Sequence[str], now: float, lifetime_s: float) -> str:
    """Return a token of this stack. Raises: ConfigurationError: as `access.issue` does, or the key is lost."""
    from shared.serving.access import issue

    settings = home.settings
    if not settings.token_keys:
        raise ConfigurationError(f"this stack accepts tokens of {settings.issuer} only: get one there")
    return issue(home.secret(TOKEN_KEY), settings.issuer, settings.audience, subject, scopes, now, lifetime_s)


def _lost(name: str) -> str:
    """Return the message about a lost key. Only a person may decide to replace it."""
    message = f"{SECRETS}/{name} of the home is lost, and cannot be created again: restore it from a backup"
    if name not in _LOST:
        return message
    field, meaning = _LOST[name]
    return (
        f"{message}; without one, take {SECRETS}/{name} of a new home (`tidegate init --home NEW`), add the {field} of "
        f"that home's {SETTINGS} to those of this one: {meaning}"
    )


def _public(private_pem: bytes) -> str:
    return base64.urlsafe_b64encode(public_of(private_pem)).rstrip(b"=").decode()
