"""The client of a stack: where it asks."""

import pytest

from cli.client import Client
from localstack.json_server import Asked, Told, json_server


@pytest.mark.parametrize(("below", "before"), [("", ""), ("/", ""), ("/api/live", "/api/live"), ("/live/", "/live")])
def test_a_stack_may_be_below_a_path(below: str, before: str) -> None:
    paths: list[str] = []

    def answer(asked: Asked) -> Told:
        paths.append(asked.path)
        return Told(200, {})

    with json_server(answer) as port, Client(f"http://127.0.0.1:{port}{below}", "token") as client:
        client.get("/v2")
        client.post("/v2/models/tides/infer", {})
    assert paths == [f"{before}/v2", f"{before}/v2/models/tides/infer"]
