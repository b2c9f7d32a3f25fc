"""The home folder: created once even if the process is killed in between; opened, or refused with a remedy."""

import itertools
import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from functions.runtimes.http import own_issuer, public_keys
from functions.runtimes.local import files
from functions.runtimes.local.home import (
    SETTINGS,
    SIGNING_KEY,
    TOKEN_KEY,
    absolute,
    check_secrets,
    create_home,
    issue_token,
    open_home,
)
from functions.runtimes.local.platform import compose
from shared.documents import encode
from shared.errors import ConfigurationError, TidegateError, Unavailable, Unsupported
from shared.registry.signatures import key_id_of, public_of, sign, verify
from shared.serving.access import authenticate


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_a_home_is_made_once_and_stays_as_it_is(tmp_path: Path) -> None:
    home = create_home(tmp_path / "deep" / "home", stack="one", port=0)
    before = tree(home.path)
    assert create_home(home.path, stack="two", port=1234) == home
    assert open_home(home.path) == home
    assert tree(home.path) == before
    assert home.settings.stack == "one"


def test_keys_are_private_and_the_settings_hold_their_public_parts(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    assert stat.S_IMODE((home.path / "secrets").stat().st_mode) == 0o700
    for name in (SIGNING_KEY, TOKEN_KEY):
        assert stat.S_IMODE((home.path / "secrets" / name).stat().st_mode) == 0o600
    signing, token = home.secret(SIGNING_KEY), home.secret(TOKEN_KEY)
    assert signing != token
    assert public_keys(home.settings.trust_roots) == {key_id_of(signing): public_of(signing)}
    assert public_keys(home.settings.token_keys) == {key_id_of(token): public_of(token)}
    verify(b"body", sign(b"body", signing), key_id_of(signing), public_keys(home.settings.trust_roots))
    assert signing.decode()[30:60] not in (home.path / SETTINGS).read_text()


def test_its_tokens_are_accepted_by_its_own_settings(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    token = issue_token(home, "me", ["flights:infer"], 1000.0, 60.0)
    issuers = (own_issuer(home.settings),)
    caller = authenticate(f"Bearer {token}", issuers, 1001.0, usecase="flights", action="infer")
    assert (caller.subject, caller.scopes) == ("me", {"flights:infer"})


@pytest.mark.parametrize(("port", "issuer"), [(8080, "http://127.0.0.1:8080"), (0, "http://127.0.0.1")])
def test_the_issuer_is_a_url_that_stays(tmp_path: Path, port: int, issuer: str) -> None:
    assert create_home(tmp_path / "home", port=port).settings.issuer == issuer


def test_a_missing_home_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(ConfigurationError, match=r"no Tidegate home at .*: run `tidegate init`"):
            open_home(place)
    with pytest.raises(ConfigurationError, match="--home"):
        create_home(tmp_path / "file")
    with pytest.raises(Unavailable, match="--home") as refused:  # the environment's doing: exit code 3
        create_home(Path("/proc/nowhere"))
    assert refused.value.exit_code == 3
    home = create_home(tmp_path / "home")
    (home.path / SETTINGS).unlink()
    (home.path / SETTINGS).mkdir()
    with pytest.raises(Unavailable, match="cannot be read"):
        open_home(home.path)


def test_wrong_settings_name_the_key(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    path = home.path / SETTINGS
    path.write_text(path.read_text().replace('"port": 8080', '"prot": 8080'))
    with pytest.raises(ConfigurationError, match=rf"{path}: .*prot.*; correct it"):
        open_home(home.path)


@pytest.mark.parametrize(
    ("written", "kind", "says"),
    [
        ('"settings/9"', Unsupported, "newer Tidegate.*upgrade"),
        ('"settings/0"', ConfigurationError, "'settings/0'; correct it, or restore it"),
        ('"receipt/1"', ConfigurationError, "expected a document of format settings/1"),
        ('""', ConfigurationError, "expected a document of format settings/1"),
        ("1", ConfigurationError, "format"),
    ],
)
def test_settings_of_another_format_are_refused(
    tmp_path: Path, written: str, kind: type[TidegateError], says: str
) -> None:
    home = create_home(tmp_path / "home")
    path = home.path / SETTINGS
    path.write_text(path.read_text().replace('"settings/1"', written))
    with pytest.raises(kind, match=f"{path}: .*{says}"):
        open_home(home.path)


@pytest.mark.parametrize("name", [SIGNING_KEY, TOKEN_KEY])
def test_a_lost_key_is_an_error_whose_remedy_works(tmp_path: Path, name: str) -> None:
    home = create_home(tmp_path / "home")
    (home.path / "secrets" / name).unlink()
    for refused in (check_secrets, lambda home: create_home(home.path), lambda home: home.secret(name)):
        with pytest.raises(ConfigurationError, match=rf"secrets/{name} .* lost.*backup.*`tidegate init --home NEW`"):
            refused(home)
    assert not (home.path / "secrets" / name).exists()
    other = create_home(tmp_path / "new")
    shutil.copy(other.path / "secrets" / name, home.path / "secrets" / name)
    field = "trust_roots" if name == SIGNING_KEY else "token_keys"
    with pytest.raises(ConfigurationError, match=rf"secrets/{name} .* not among the {field}"):
        check_secrets(home)
    known = {**getattr(home.settings, field), **getattr(other.settings, field)}
    (home.path / SETTINGS).write_bytes(encode(msgspec.structs.replace(home.settings, **{field: known})))
    check_secrets(create_home(home.path))


def test_a_key_that_cannot_be_read_is_an_environment_error(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    (home.path / "secrets" / TOKEN_KEY).unlink()
    (home.path / "secrets" / TOKEN_KEY).mkdir()
    with pytest.raises(Unavailable, match="cannot be read"):
        check_secrets(home)


class Killed(BaseException):
    """The process is killed here."""


def test_a_home_that_was_killed_while_it_was_made_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die at every write in turn: before it, and after it."""
    steps = itertools.count()
    limit = 0

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            if next(steps) == limit:
                raise Killed
            result = function(*arguments, **named)
            if next(steps) == limit:
                raise Killed
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "link", dying(files.os.link))
        patch.setattr(files, "sync_folder", dying(files.sync_folder))
        patch.setattr(Path, "mkdir", dying(Path.mkdir))
        deaths = 0
        while True:
            steps, place = itertools.count(), tmp_path / str(limit)
            try:
                create_home(place)
            except Killed:
                deaths += 1
                keys = {name: body for name, body in tree(place).items() if name.endswith("-key")}
                limit, held = -1, limit
                home = create_home(place)
                limit = held + 1
                whole = tree(home.path)
                assert keys.items() <= whole.items()  # a key that was written is never replaced
                assert public_keys(home.settings.token_keys) == {
                    key_id_of(home.secret(TOKEN_KEY)): public_of(home.secret(TOKEN_KEY))
                }
                continue
            break
    assert deaths > 20


def test_a_home_that_was_moved_or_copied_uses_its_own_stores(tmp_path: Path) -> None:
    first = create_home(tmp_path / "first 100% home")
    compose(first, "test").system.put_new("a", b"first")
    shutil.copytree(first.path, tmp_path / "second")
    second = open_home(tmp_path / "second")
    compose(second, "test").system.put_new("b", b"second")
    assert compose(first, "test").system.head("b") is None
    assert compose(second, "test").system.get("a").body == b"first"
    assert (tmp_path / "first 100% home" / "system" / "a").read_bytes() == b"first"


def test_urls_of_other_places_do_not_change(tmp_path: Path) -> None:
    for url in ("s3://bucket/prefix", "file:///srv/system", "memory:"):
        assert absolute(url, tmp_path) == url


def test_training_digests_are_computed_only_on_request(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    assert compose(home, "a").settings.train_code_digest == ""
    settings = compose(home, "a", trains=True).settings
    assert settings.train_code_digest.startswith("sha256:")
    assert settings.train_libraries_digest.startswith("sha256:")
    assert compose(home, "b", trains=True).settings == settings


def test_files_are_written_atomically(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert files.write_once(path, b"one") == b"one"
    assert files.write_once(path, b"two") == b"one"
    files.write_whole(path, b"three", mode=0o600)
    assert path.read_bytes() == b"three"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(OSError, match="directory"):
        files.write_whole(tmp_path, b"four")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_home_that_trusts_another_issuer_makes_no_tokens(tmp_path: Path) -> None:
    made = create_home(tmp_path / "home")
    path = tmp_path / "home/settings.json"
    settings = json.loads(path.read_text()) | {"issuer": "https://login.example.com", "token_keys": {}}
    path.write_text(json.dumps(settings))
    home = open_home(made.path)
    check_secrets(home)
    with pytest.raises(ConfigurationError, match=r"tokens of https://login\.example\.com only"):
        issue_token(home, "somebody", ("flights:infer",), 0.0, 60.0)
