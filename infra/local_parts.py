"""The resources of a local stack as Pulumi dynamic resources: the home, and the process that serves it.

Their providers are pickled by reference and run in a process of the engine: importing this module has no effects.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import (
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)

from tidegate import own_process

START_S = 90.0
STOP_S = 30.0
_POLL_S = 0.1
_PRIVATE = 0o700


class _Provider(ResourceProvider):
    serialize_as_secret_always = False  # it is pickled by reference and holds no secret


class _Home(_Provider):
    """Creates a home through functions.runtimes.local.home, with the settings of the configuration."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        from functions.runtimes.local.home import create_home

        path = Path(props["path"])
        create_home(path, stack=props["stack"], host=props["host"], port=int(props["port"]))
        _write_settings(path, props["settings"])
        return CreateResult(id_=str(path), outs=_seen_home(props))

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        replaces = [key for key in ("path", "stack") if olds.get(key) != news.get(key)]
        changed = [key for key in ("host", "port", "settings") if olds.get(key) != news.get(key)]
        repaired = [] if olds.get("state", "whole") == "whole" else ["state"]
        return DiffResult(
            changes=bool(replaces or changed or repaired),
            replaces=replaces,
            delete_before_replace=False,
            stables=["path"],
        )

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        from functions.runtimes.local.home import create_home

        path = Path(news["path"])
        create_home(path, stack=news["stack"], host=news["host"], port=int(news["port"]))
        (path / "secrets").chmod(_PRIVATE)
        for file in _secrets(path):
            file.chmod(0o600)
        _write_settings(path, {**news["settings"], "host": news["host"], "port": int(news["port"])})
        return UpdateResult(outs=_seen_home(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        if not (Path(id_) / "settings.json").exists():
            return ReadResult(id_="", outs={})
        return ReadResult(id_=id_, outs=_seen_home(props))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        shutil.rmtree(id_, ignore_errors=True)


class Home(Resource, module="tidegate", name="LocalHome"):
    """The folder with a local stack's state. `settings`: keys of shared.settings that differ from the default."""

    path: pulumi.Output[str]
    state: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(_Home(), name, {**props, "state": None}, opts)


class _Service(_Provider):
    """Starts `tidegate serve` under its own supervisor, in its own session; it keeps running after `pulumi up`."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_=str(props["home"]), outs=_started(props))

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = [key for key in ("host", "port", "revision") if olds.get(key) != news.get(key)]
        stopped = not olds.get("url")
        return DiffResult(
            changes=bool(changed or stopped) or olds.get("home") != news.get("home"),
            replaces=["home"] if olds.get("home") != news.get("home") else [],
            delete_before_replace=True,
        )

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _stop(Path(id_))
        return UpdateResult(outs=_started(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        url = _serving(Path(id_))
        return ReadResult(id_=id_, outs={**props, "url": url})

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        _stop(Path(id_))


class Service(Resource, module="tidegate", name="LocalService"):
    """The process that serves a home. `revision`: a change of it restarts the process. `url`: its base URL."""

    url: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(_Service(), name, {**props, "url": None}, opts)


class _File(_Provider):
    """Writes a text file with this content."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        _write(Path(props["path"]), props["text"])
        return CreateResult(id_=props["path"], outs=props)

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        replaces = ["path"] if olds.get("path") != news.get("path") else []
        return DiffResult(changes=bool(replaces) or olds.get("text") != news.get("text"), replaces=replaces)

    def update(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _write(Path(id_), news["text"])
        return UpdateResult(outs=news)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            return ReadResult(id_=id_, outs={**props, "text": Path(id_).read_text()})
        except OSError:
            return ReadResult(id_="", outs={})

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        Path(id_).unlink(missing_ok=True)


class File(Resource, module="tidegate", name="LocalFile"):
    """A file for the operator, such as a systemd unit."""

    path: pulumi.Output[str]
    text: pulumi.Output[str]

    def __init__(self, name: str, path: str, text: Any, opts: pulumi.ResourceOptions) -> None:
        super().__init__(_File(), name, {"path": path, "text": text}, opts)


def _seen_home(props: dict[str, Any]) -> dict[str, Any]:
    """Return the home's actual properties: its settings, and whether its secrets are private."""
    from functions.runtimes.local.home import SECRETS, SETTINGS, SIGNING_KEY, TOKEN_KEY
    from shared.settings import read_settings

    path = Path(props["path"])
    existing = read_settings((path / SETTINGS).read_bytes(), str(path / SETTINGS))
    private = (path / SECRETS).is_dir() and (path / SECRETS).stat().st_mode & 0o077 == 0
    there = all((path / SECRETS / key).is_file() for key in (SIGNING_KEY, TOKEN_KEY))
    whole = private and there and all(file.stat().st_mode & 0o077 == 0 for file in _secrets(path))
    settings = {key: getattr(existing, key) for key in props["settings"]}
    return {
        **props,
        "settings": _plain(settings),
        "host": existing.host,
        "port": existing.port,
        "state": "whole" if whole else "secrets can be read by others, or are missing",
    }


def _secrets(path: Path) -> list[Path]:
    """Return a home's files with secrets. A link's target does not belong to the home; a certificate is public."""
    from functions.runtimes.local.home import SECRETS
    from functions.runtimes.local.tls import CERTIFICATE

    found = (path / SECRETS).iterdir()
    return [file for file in found if file.is_file() and not file.is_symlink() and file != path / CERTIFICATE]


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def _write_settings(path: Path, changes: dict[str, Any]) -> None:
    import msgspec

    from functions.runtimes.local.files import write_whole
    from functions.runtimes.local.home import SETTINGS
    from shared.documents import encode
    from shared.settings import Settings, read_settings

    existing = msgspec.to_builtins(read_settings((path / SETTINGS).read_bytes(), str(path / SETTINGS)))
    settings = msgspec.convert({**existing, **changes}, Settings, strict=False)
    write_whole(path / SETTINGS, msgspec.json.format(encode(settings), indent=2) + b"\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _started(props: dict[str, Any]) -> dict[str, Any]:
    """Start the service and wait until it answers. Raises: RuntimeError: it ended, or did not answer in time."""
    home = Path(props["home"])
    said = home / "logs" / "service.log"
    with said.open("ab") as output:
        process = subprocess.Popen(
            [*own_process.command("cli.main"), "serve", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home,
            env=_environment(),
            start_new_session=True,
        )
    give_up_at = time.monotonic() + START_S
    while not (url := _serving(home)):
        if process.poll() is not None or time.monotonic() > give_up_at:
            last = said.read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"the service of {home} did not start: {' '.join(last) or 'see ' + str(said)}")
        time.sleep(_POLL_S)
    return {**props, "url": url}


def _environment() -> dict[str, str]:
    """Return this process's environment without what the engine added to it."""
    of_the_engine = ("PYTHONPATH", "PULUMI_")
    return {name: value for name, value in os.environ.items() if not name.startswith(of_the_engine)}


def _serving(home: Path) -> str:
    """Return the base URL at which the home's gateway answers health checks, "" where it does not."""
    import http.client
    from urllib.parse import urlsplit

    from functions.runtimes.local.home import open_home
    from functions.runtimes.local.process import announced, is_alive
    from functions.runtimes.local.tls import client_context
    from shared.errors import TidegateError

    try:
        opened = open_home(home)
    except TidegateError:
        return ""
    supervisor, gateway = announced(opened, "supervisor"), announced(opened, "gateway")
    if supervisor is None or gateway is None or not is_alive(supervisor.pid) or not is_alive(gateway.pid):
        return ""
    parts = urlsplit(gateway.url)
    host, port = parts.hostname or "", parts.port
    connection = http.client.HTTPConnection(host, port, timeout=5)
    if parts.scheme == "https":  # as the running process serves it: the settings may have changed since
        try:
            connection = http.client.HTTPSConnection(host, port, timeout=5, context=client_context(opened))
        except TidegateError:
            return ""
    try:
        connection.request("GET", "/v2/health/live")
        return gateway.url if connection.getresponse().status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _stop(home: Path) -> None:
    """Stop the service, if one runs, and wait until all of its processes have ended."""
    from functions.runtimes.local.home import open_home
    from functions.runtimes.local.process import announced, is_alive
    from shared.errors import TidegateError

    try:
        running = announced(open_home(home), "supervisor")
    except TidegateError:
        return
    if running is None or not is_alive(running.pid):
        return
    os.kill(running.pid, signal.SIGTERM)
    give_up_at = time.monotonic() + STOP_S
    while is_alive(running.pid):
        if time.monotonic() > give_up_at:
            os.kill(running.pid, signal.SIGKILL)
            return
        time.sleep(_POLL_S)
