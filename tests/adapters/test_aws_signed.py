"""Requests to AWS without the SDK: signatures equal the SDK's, certificates are checked, and each is sent once."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from adapters.aws.failures import Call
from adapters.aws.signed import Signed, authorization, is_plain, region_of
from shared.errors import ConfigurationError, OutcomeUnknown, Unavailable

CALL = Call("send", "t-queue", "sqs:SendMessage")
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret/+"}
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"MessageId":"1"}'


class Server:
    """Answers each request with the next of `answers`, and repeats the last one.

    `hangs_up`: closes the connection after each answer. `connections` counts the connections; `requests` has the
    requests.
    """

    def __init__(self, context: ssl.SSLContext | None = None, *, hangs_up: bool = False) -> None:
        self.answers = [ANSWER]
        self.requests: list[bytes] = []
        self.connections = 0
        self.hung_up = threading.Event()
        self._hangs_up = hangs_up
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host_port = f"localhost:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with closing(taken):
                self._answer(taken)
            self.hung_up.set()

    def _answer(self, taken: socket.socket) -> None:
        try:
            stream = self._context.wrap_socket(taken, server_side=True) if self._context else taken
        except OSError:
            return
        with closing(stream):
            stream.settimeout(5.0)
            while True:
                try:
                    request = b""
                    while not request.endswith(b"}"):
                        part = stream.recv(65536)
                        if not part:
                            return
                        request += part
                    self.requests.append(request)
                    stream.sendall(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
                except OSError:
                    return
                if self._hangs_up:
                    return


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as made:
        yield made


def signed(at: Server, scheme: str = "http", environ: Mapping[str, str] = KEYS) -> Signed:
    return Signed("sqs", "AmazonSQS", "eu-west-1", f"{scheme}://{at.host_port}", environ)


def send(client: Signed) -> Any:
    return client.send(CALL, 5.0, "SendMessage", {"QueueUrl": "u", "MessageBody": "é"})


@given(
    body=st.binary(max_size=200),
    token=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40) | st.none(),
    region=st.sampled_from(["eu-west-1", "us-east-1"]),
)
def test_signatures_equal_those_of_botocore(body: bytes, token: str | None, region: str) -> None:
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessage"}
    request = AWSRequest("POST", f"https://sqs.{region}.amazonaws.com/", headers=headers, data=body)
    SigV4Auth(Credentials(*KEYS.values(), token=token), "sqs", region).add_auth(request)
    headers |= {"host": f"sqs.{region}.amazonaws.com", "x-amz-date": request.headers["X-Amz-Date"]}
    if token:
        headers["x-amz-security-token"] = token
    assert authorization(headers, body, (region, "sqs"), *KEYS.values()) == request.headers["Authorization"]


def test_requests_follow_the_services_documentation(server: Server) -> None:
    assert send(signed(server, environ={**KEYS, "AWS_SESSION_TOKEN": "session"})) == {"MessageId": "1"}
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert (lines[0], body) == ("POST / HTTP/1.1", '{"QueueUrl":"u","MessageBody":"é"}'.encode())
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert fields["host"] == server.host_port
    assert (fields["x-amz-target"], fields["x-amz-security-token"]) == ("AmazonSQS.SendMessage", "session")
    assert fields["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "secret" not in head.decode()


def test_an_idle_connection_is_reused(server: Server) -> None:
    client = signed(server)
    assert [send(client), send(client)] == [{"MessageId": "1"}] * 2
    assert (server.connections, len(server.requests)) == (1, 2)


def test_an_idle_connection_that_was_closed_is_not_reused() -> None:
    with closing(Server(hangs_up=True)) as server:
        client = signed(server)
        for number in (1, 2, 3):
            assert send(client) == {"MessageId": "1"}
            assert server.hung_up.wait(5.0)
            server.hung_up.clear()
            assert (server.connections, len(server.requests)) == (number, number)


def test_redirects_are_not_followed(server: Server) -> None:
    server.answers = [b"HTTP/1.1 307 T\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"]
    with pytest.raises(ConfigurationError, match="another region"):
        send(signed(server))


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\n", b"", b"no HTTP\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1,", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n<>"],
)  # fmt: skip
def test_an_incomplete_answer_is_outcome_unknown(answer: bytes) -> None:
    with closing(Server(hangs_up=True)) as server:
        server.answers = [answer]
        with pytest.raises(OutcomeUnknown):
            send(signed(server))
        assert len(server.requests) == 1


@pytest.fixture
def certified(tmp_path: Path) -> Callable[[str], tuple[ssl.SSLContext, str]]:
    """Return a function that makes a server's TLS context for a name, and the file of its certificate."""

    def make(name: str) -> tuple[ssl.SSLContext, str]:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder(named, named, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem, private = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, private)
        return context, str(pem)

    return make


def test_only_trusted_certificates_with_the_right_name_are_accepted(
    certified: Callable[[str], tuple[ssl.SSLContext, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = certified("localhost")
    with closing(Server(context)) as server:
        with pytest.raises(Unavailable, match="cannot be reached"):
            send(signed(server, "https"))
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        assert send(signed(server, "https")) == {"MessageId": "1"}
    context, trusted = certified("other")
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    with closing(Server(context)) as server:
        with pytest.raises(Unavailable, match="cannot be reached"):
            send(signed(server, "https"))
        assert server.requests == []


@pytest.mark.parametrize(
    ("region", "endpoint", "changes", "plain"),
    [
        ("eu-west-1", "", {}, True),
        ("us-east-1", "", {"AWS_SESSION_TOKEN": "t"}, True),
        ("", "", {}, False),
        ("us-gov-west-1", "", {}, False),
        ("cn-north-1", "", {}, False),
        ("eu-west-1", "", {"AWS_ACCESS_KEY_ID": ""}, False),
        ("eu-west-1", "", {"AWS_PROFILE": "p"}, False),
        ("eu-west-1", "", {"https_proxy": "http://proxy"}, False),
        ("eu-west-1", "", {"AWS_CA_BUNDLE": "f"}, False),
        ("eu-west-1", "", {"AWS_USE_FIPS_ENDPOINT": "true"}, False),
        ("eu-west-1", "", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, False),
        ("eu-west-1", "http://127.0.0.1:4566", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, True),
        ("eu-west-1", "http://127.0.0.1:4566/path", {}, False),
        ("", "http://127.0.0.1:4566", {}, False),
    ],
)
def test_is_plain_only_where_the_sdk_would_do_the_same(
    region: str, endpoint: str, changes: Mapping[str, str], plain: bool
) -> None:
    assert is_plain(region, endpoint, {**KEYS, **changes}) is plain


def test_is_plain_is_false_with_a_configuration_file(tmp_path: Path) -> None:
    home = {**KEYS, "HOME": str(tmp_path)}
    assert is_plain("eu-west-1", "", home)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").touch()
    assert not is_plain("eu-west-1", "", home)


def test_the_region_comes_from_the_url_or_the_environment() -> None:
    environ = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}
    assert (region_of("sa-east-1", environ), region_of("", environ), region_of("", {})) == (
        "sa-east-1", "eu-west-1", "",
    )  # fmt: skip
