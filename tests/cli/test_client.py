"""The client of a stack: addresses and certificates."""

import ssl
from pathlib import Path

import pytest

from cli.client import Client
from localstack.certificate import certificate_for_loopback
from localstack.json_server import JsonRequest, JsonResponse, json_server
from shared.errors import InvalidInput, Unavailable


@pytest.mark.parametrize(("below", "before"), [("", ""), ("/", ""), ("/api/live", "/api/live"), ("/live/", "/live")])
def test_a_stacks_address_may_have_a_path(below: str, before: str) -> None:
    paths: list[str] = []

    def answer(asked: JsonRequest) -> JsonResponse:
        paths.append(asked.path)
        return JsonResponse(200, {})

    with json_server(answer) as port, Client(f"http://127.0.0.1:{port}{below}", "token") as client:
        client.get("/v2")
        client.post("/v2/models/tides/infer", {})
    assert paths == [f"{before}/v2", f"{before}/v2/models/tides/infer"]


def test_https_needs_a_trusted_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificate_for_loopback(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with json_server(lambda asked: JsonResponse(200, {"path": asked.path}), tls=context) as port:
        url = f"https://127.0.0.1:{port}"
        with Client(url, "token") as client, pytest.raises(Unavailable, match=r"127\.0\.0\.1:\d+ is not trusted"):
            client.get("/v2")
        monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
        with Client(url, "token") as client:
            assert client.get("/v2") == {"path": "/v2"}


@pytest.mark.parametrize("url", ["", "stack.example", "ftp://stack.example", "https:///v2"])
def test_an_invalid_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"https://stack\.example"):
        Client(url, "token")
