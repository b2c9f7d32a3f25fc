"""The issuer: its published keys verify its tokens, and the AWS emulator's authorizer accepts them."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import jwt
import pytest

from localstack import emulators
from localstack.emulators import AWS_ACCOUNT
from localstack.lambda_host import bootstrap
from localstack.token_issuer import Algorithm, TokenIssuer, token_issuer
from shared.errors import Unauthenticated
from shared.serving.access import authenticate, trusted_issuer

AUDIENCE = "tidegate"


@pytest.fixture(params=["RS256", "EdDSA"])
def issuer(request: pytest.FixtureRequest) -> Iterator[TokenIssuer]:
    algorithm: Algorithm = request.param
    with token_issuer(algorithm) as running:
        yield running


def get(url: str, **more: Any) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, **more), timeout=10) as answer:
        return json.load(answer)


def verified(issuer: TokenIssuer, token: str) -> dict[str, Any]:
    """Verify a token as a stranger does who knows the issuer's name only."""
    document = get(f"{issuer.url}/.well-known/openid-configuration")
    assert document["issuer"] == issuer.url
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(get(document["jwks_uri"])).keys}
    key = keys[jwt.get_unverified_header(token)["kid"]]
    found: dict[str, Any] = jwt.decode(
        token, key, algorithms=[issuer.algorithm], audience=AUDIENCE, issuer=document["issuer"]
    )
    return found


def test_a_token_has_the_requested_claims(issuer: TokenIssuer) -> None:
    now = int(time.time())
    claims = verified(issuer, issuer.issue("somebody", AUDIENCE, ["late:infer", "late:label"], 60, now=now, team="x"))
    assert (claims["sub"], claims["scope"], claims["team"]) == ("somebody", "late:infer late:label", "x")
    assert (claims["iat"], claims["exp"]) == (now, now + 60)


def test_claims_can_be_wrong_or_missing(issuer: TokenIssuer) -> None:
    with pytest.raises(jwt.ExpiredSignatureError):
        verified(issuer, issuer.issue("somebody", AUDIENCE, now=0))
    with pytest.raises(jwt.InvalidAudienceError):
        verified(issuer, issuer.issue("somebody", "others"))
    assert "exp" not in verified(issuer, issuer.issue("somebody", AUDIENCE, exp=None))


def test_keys_rotate_and_the_old_ones_stay(issuer: TokenIssuer) -> None:
    before = issuer.issue("somebody", AUDIENCE)
    issuer.rotate()
    after = issuer.issue("somebody", AUDIENCE)
    assert jwt.get_unverified_header(before)["kid"] != jwt.get_unverified_header(after)["kid"]
    assert verified(issuer, before)["sub"] == verified(issuer, after)["sub"] == "somebody"


def test_published_keys_are_public(issuer: TokenIssuer) -> None:
    private = {"d", "p", "q", "dp", "dq", "qi"}
    assert all(not private & key.keys() for key in get(f"{issuer.url}/.well-known/jwks.json")["keys"])


def test_a_form_returns_a_token(issuer: TokenIssuer) -> None:
    form = urllib.parse.urlencode({"client_id": "me", "audience": AUDIENCE, "scope": "a b", "lifetime_s": "30"})
    answer = get(f"{issuer.url}/token", data=form.encode())
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 30)
    assert verified(issuer, answer["access_token"])["scope"] == "a b"
    for path, body in (("/token", b"scope=x"), ("/token", b"client_id=a&audience=b&lifetime_s=inf"), ("/x", b"")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(issuer.url + path, data=body)
        assert refused.value.code == (404 if path == "/x" else 400)
        refused.value.close()


def test_our_own_verification_trusts_it(issuer: TokenIssuer) -> None:
    trusted = trusted_issuer(issuer.url, AUDIENCE, issuer.jwks())
    asked = {"usecase": "late", "action": "infer"}
    token = issuer.issue("somebody", AUDIENCE, ["late:infer"])
    caller = authenticate(f"Bearer {token}", [trusted], time.time(), **asked)
    assert (caller.subject, caller.scopes, caller.issuer) == ("somebody", frozenset({"late:infer"}), issuer.url)
    with pytest.raises(Unauthenticated):
        authenticate(f"Bearer {issuer.issue('somebody', 'others')}", [trusted], time.time(), **asked)


def test_the_authorizer_of_an_http_api_accepts_it(
    aws_emulator: emulators.Running, hosts_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "answers.py").write_text("def handle(event, context):\n    return {'statusCode': 200, 'body': 'in'}\n")
    account = {**AWS_ACCOUNT, "aws_access_key_id": "0" * 12}

    def client(service: str) -> Any:
        return boto3.client(service, endpoint_url=aws_emulator.url, **account)

    arn = client("lambda").create_function(
        FunctionName="answers",
        Runtime="provided.al2023",
        Role="arn:aws:iam::000000000000:role/any",
        Handler="answers.handle",
        Code={"ZipFile": bootstrap(hosts_folder, path=[tmp_path])},
    )["FunctionArn"]
    api = client("apigatewayv2")
    with token_issuer("RS256") as issuer, token_issuer("RS256") as stranger:
        made = api.create_api(Name="answers", ProtocolType="HTTP")["ApiId"]
        authorizer = api.create_authorizer(
            ApiId=made,
            AuthorizerType="JWT",
            Name="issuer",
            IdentitySource=["$request.header.Authorization"],
            JwtConfiguration={"Audience": [AUDIENCE], "Issuer": issuer.url},
        )["AuthorizerId"]
        integration = api.create_integration(
            ApiId=made, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
        )["IntegrationId"]
        api.create_route(
            ApiId=made,
            RouteKey="GET /x",
            Target=f"integrations/{integration}",
            AuthorizationType="JWT",
            AuthorizerId=authorizer,
        )
        api.create_stage(ApiId=made, StageName="$default", AutoDeploy=True)

        def status(token: str) -> int:
            request = urllib.request.Request(f"{aws_emulator.url}/_aws/execute-api/{made}/$default/x")
            if token:
                request.add_header("Authorization", f"Bearer {token}")
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                error.close()
                return error.code

        assert status(issuer.issue("somebody", AUDIENCE)) == 200
        assert status("") == 401
        assert status(issuer.issue("somebody", "others")) == 401
        assert status(issuer.issue("somebody", AUDIENCE, now=0)) == 401
        assert status(stranger.issue("somebody", AUDIENCE, iss=issuer.url)) == 401
