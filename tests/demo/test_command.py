"""The demo's last line, a curl call to paste: its token allows nothing else, and with --exit there is none."""

import base64
import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.demo import loop
from cli.demo.payloads import curl_line
from cli.demo.stack import of_home
from cli.main import main
from functions.runtimes.local import supervisor
from functions.runtimes.local.home import create_home


def test_the_curl_line_allows_predictions_only(tmp_path: Path) -> None:
    home = create_home(tmp_path / "home")
    stack = of_home(home, "http://127.0.0.1:9")
    line = curl_line(stack, "late-arrivals", {"id": "demo-one", "inputs": []})
    token = line.partition("Bearer ")[2].partition("'")[0]
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["scope"] == "late-arrivals:infer"
    assert line.startswith("curl -sS http://127.0.0.1:9/v2/models/late-arrivals/infer ")
    assert "demo-one" not in line


@pytest.mark.parametrize(
    ("names", "address"),
    [
        (["127.0.0.1", "localhost"], "https://127.0.0.1:9/v2"),
        (["*.example", "stack.example"], "--connect-to stack.example:9:127.0.0.1:9 https://stack.example:9/v2"),
        (["*.example"], "https://127.0.0.1:9/v2"),
    ],
)
def test_the_curl_line_uses_a_name_of_the_certificate(tmp_path: Path, names: list[str], address: str) -> None:
    stack = of_home(create_home(tmp_path / "home"), "https://127.0.0.1:9")
    spoken = dataclasses.replace(stack, certificate="/a home/tls.pem", names=names)
    line = curl_line(spoken, "late-arrivals", {"id": "demo-one", "inputs": []})
    assert line.startswith(f"curl -sS --cacert '/a home/tls.pem' {address}")


class Checked(msgspec.Struct, frozen=True):
    clean: bool = True


class Result(msgspec.Struct):
    """In place of the loop's result."""

    seconds: float = 1.0
    fsck: Checked = Checked()
    endpoint: str = "http://127.0.0.1:9/v2/models/late-arrivals/infer"
    curl: str | None = "curl -s it -H 'authorization: Bearer secret'"


class Served(msgspec.Struct):
    url: str = "http://127.0.0.1:9"


@pytest.mark.parametrize("as_json", [True, False])
def test_with_exit_no_token_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], as_json: bool
) -> None:
    @contextlib.contextmanager
    def start(*_: Any) -> Iterator[Served]:
        yield Served()

    monkeypatch.setattr(supervisor, "start", start)
    monkeypatch.setattr(loop, "run", lambda *_: Result())
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--exit", "--home", str(tmp_path / "home"), *(["--json"] if as_json else [])])
    assert ended.value.code == 0
    printed = capfd.readouterr()
    assert "secret" not in printed.out + printed.err
    if as_json:
        assert json.loads(printed.out)["curl"] is None
