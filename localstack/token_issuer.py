"""An issuer of access tokens on loopback: discovery, keys and signed tokens.

    with token_issuer() as issuer:
        token = issuer.issue("somebody", "tidegate", ["late-arrivals:infer"])

It serves /.well-known/openid-configuration, /.well-known/jwks.json and POST /token (a form with client_id, audience,
scope and, optionally, lifetime_s) without authentication: only a stack that names it as its issuer trusts it.
"""

import json
import secrets
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

Algorithm = Literal["RS256", "EdDSA"]
DISCOVERY, KEYS, TOKEN = "/.well-known/openid-configuration", "/.well-known/jwks.json", "/token"
LIFETIME_S = 600.0
_RSA_BITS = 2048
_LARGEST_FORM_BYTES = 65_536


class TokenIssuer:
    """An issuer named `url`. Thread-safe."""

    def __init__(self, url: str, algorithm: Algorithm) -> None:
        self.url = url
        self.algorithm: Algorithm = algorithm
        self._keys: list[tuple[str, RSAPrivateKey | Ed25519PrivateKey]] = []
        self.rotate()

    def rotate(self) -> None:
        """Sign with a new key from now on; earlier keys stay published."""
        from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

        key: RSAPrivateKey | Ed25519PrivateKey
        if self.algorithm == "RS256":
            key = rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)
        else:
            key = ed25519.Ed25519PrivateKey.generate()
        self._keys.append((secrets.token_hex(8), key))

    def issue(
        self,
        subject: str,
        audience: str,
        scopes: Sequence[str] = (),
        lifetime_s: float = LIFETIME_S,
        *,
        now: float | None = None,
        **claims: Any,
    ) -> str:
        """Return a signed token. Args: now: epoch s, by default now. claims: added or replaced; None removes one."""
        import jwt

        at = int(time.time() if now is None else now)
        every: dict[str, Any] = {
            "iss": self.url,
            "sub": subject,
            "aud": audience,
            "scope": " ".join(scopes),
            "iat": at,
            "nbf": at,
            "exp": at + int(lifetime_s),
            "jti": secrets.token_hex(16),
            **claims,
        }
        name, key = self._keys[-1]
        kept = {claim: value for claim, value in every.items() if value is not None}
        return jwt.encode(kept, key, algorithm=self.algorithm, headers={"kid": name})

    def jwks(self) -> dict[str, Any]:
        """Return the public keys, newest last, as a JWK set."""
        from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

        kind: Any = RSAAlgorithm if self.algorithm == "RS256" else OKPAlgorithm
        published = []
        for name, key in self._keys:
            public = kind.to_jwk(key.public_key(), as_dict=True)
            published.append({**public, "kid": name, "alg": self.algorithm, "use": "sig", "key_ops": ["verify"]})
        return {"keys": published}

    def discovery(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.url,
            "jwks_uri": self.url + KEYS,
            "token_endpoint": self.url + TOKEN,
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm],
            "token_endpoint_auth_methods_supported": ["none"],
        }

    def answer_form(self, form: bytes) -> tuple[int, dict[str, Any]]:
        """Return the status and body of POST /token (RFC 6749, 4.4)."""
        given = dict(urllib.parse.parse_qsl(form.decode(errors="replace")))
        try:
            lifetime_s = float(given.get("lifetime_s", LIFETIME_S))
            token = self.issue(given["client_id"], given["audience"], given.get("scope", "").split(), lifetime_s)
        except (KeyError, ValueError, OverflowError):
            return 400, {"error": "invalid_request", "error_description": "client_id and audience are required"}
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": int(lifetime_s)}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    issuer: TokenIssuer


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        issuer = self.server.issuer
        made = {DISCOVERY: issuer.discovery, KEYS: issuer.jwks}.get(self.path.partition("?")[0])
        self._answer(200, made()) if made else self._answer(404, {"error": "not_found"})

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if self.path != TOKEN or not length.isdigit() or int(length) > _LARGEST_FORM_BYTES:
            self._answer(404 if self.path != TOKEN else 400, {"error": "invalid_request"})
        else:
            self._answer(*self.server.issuer.answer_form(self.rfile.read(int(length))))

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""


@contextmanager
def token_issuer(algorithm: Algorithm = "RS256", *, port: int = 0) -> Iterator[TokenIssuer]:
    """Serve an issuer in this process until the block ends. Args: port: 0 for any free one."""
    server = _Server(("127.0.0.1", port), _Handler)
    server.issuer = TokenIssuer(f"http://127.0.0.1:{server.server_port}", algorithm)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
