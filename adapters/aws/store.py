"""The object store in Amazon S3, or in a store with its protocol: `s3://BUCKET[/PREFIX]?region=&endpoint=`.

This module makes the client and maps S3's errors; the rest is in adapters/obstore_store.py. On AWS's own machines, and
with keys in the environment, obstore finds the credentials itself, so that a function does not import boto3. Profiles
and single sign-on use boto3.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from adapters.addresses import read_address
from adapters.aws.failures import (
    BUSY,
    NO_CREDENTIALS,
    PROVIDER,
    WRONG_REGION,
    Call,
    lost,
    no_credentials,
    refusal,
    unreachable,
)
from adapters.obstore_answers import Answer
from adapters.obstore_store import ObstoreStore, client_options, no_retries, prefix_of
from shared.errors import (
    AlreadyExists,
    ConfigurationError,
    IntegrityError,
    InvalidInput,
    MissingDependency,
    TidegateError,
    Unauthenticated,
)

if TYPE_CHECKING:
    from obstore.store import S3Store

FORM = "s3://BUCKET[/PREFIX]?region=&endpoint="
Chain = Literal["obstore", "boto3", "none"]
_CREDENTIALS_TTL = timedelta(minutes=5)
"""The time after which a profile's credentials are requested again. boto3 renews them long before they expire."""
_METADATA_PATHS = ("/latest/api/token", "/latest/meta-data")
_NOT_RENEWED = "the profile's credentials could not be renewed"
_ACTIONS = {
    **dict.fromkeys(("get", "get_range", "head"), "s3:GetObject (and s3:ListBucket, else S3 refuses absent keys too)"),
    **dict.fromkeys(("put_new", "put"), "s3:PutObject"),
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}


def from_url(url: str) -> ObstoreStore:
    """Return the store of `s3://BUCKET[/PREFIX]?region=&endpoint=`. Raises: ConfigurationError: not such a URL."""
    address = read_address(url, FORM, ("region",))
    if not address.host:
        raise ConfigurationError(f"an S3 URL needs a bucket: {FORM}")
    try:
        prefix = prefix_of(address.path)
    except InvalidInput as error:
        raise ConfigurationError(f"the prefix after the bucket cannot be one: {error.message}") from error
    region, endpoint = address.options.get("region", ""), address.options.get("endpoint", "")
    error_mapper = ErrorMapper(address.host, region)
    return ObstoreStore(
        PROVIDER,
        lambda timeout_s: _make(address.host, region, endpoint, os.environ, timeout_s),
        error_mapper.translate,
        error_mapper.place_is_missing,
        prefix=prefix,
    )


def chain_of(environ: Mapping[str, str]) -> Chain:
    """Return which chain finds the credentials, in the SDK's order.

    "obstore": environment, container, web identity or the machine's role. "boto3": profiles and single sign-on. "none":
    no source of credentials is configured.

    >>> chain_of({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    'obstore'
    """

    def named(*names: str) -> bool:
        return all(environ.get(name) for name in names)

    if named("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        return "obstore"
    if named("AWS_PROFILE") or named("AWS_DEFAULT_PROFILE"):
        return "boto3"
    containers = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if any(named(name) for name in (*containers, "AWS_WEB_IDENTITY_TOKEN_FILE")):
        return "obstore"
    home = os.path.join(environ.get("HOME", "/nonexistent"), ".aws")
    files = [environ.get("AWS_CONFIG_FILE") or os.path.join(home, "config")]
    files.append(environ.get("AWS_SHARED_CREDENTIALS_FILE") or os.path.join(home, "credentials"))
    if any(os.path.isfile(file) for file in files):
        return "boto3"
    return "none" if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true" else "obstore"


class ErrorMapper:
    """Maps S3's answers about one bucket to shared.errors."""

    def __init__(self, bucket: str, region: str) -> None:
        self._bucket = bucket
        self._region = region

    def place_is_missing(self, answer: Answer) -> bool:
        """Return whether the answer means that the bucket is missing."""
        return answer.code == "NoSuchBucket"

    def translate(self, answer: Answer, operation: str, key: str, writes: bool) -> TidegateError:
        """Return the error for an answer."""
        remedy = self._remedy() if self.place_is_missing(answer) else "no such object"
        action = f"{_ACTIONS.get(operation, operation)} in the bucket {self._bucket!r}"
        call = Call(operation, key, action, remedy, reads=not writes)
        special = self._special(answer)
        if special is not None:
            kind, message = special
            return kind(message, provider=PROVIDER, operation=operation, resource=key)
        if answer.kind == "FileNotFoundError":
            return refusal(answer.code, 404, call)
        if answer.status:
            return refusal(answer.code, answer.status, call)
        return lost(call) if answer.sent else unreachable(call)

    def _special(self, answer: Answer) -> tuple[type[TidegateError], str] | None:
        if answer.code in WRONG_REGION or "incorrectly configured region" in answer.text:
            where = f"not in {self._region}" if self._region else "in another region than this process"
            return ConfigurationError, (
                f"the bucket {self._bucket!r} is {where}: name its own, s3://{self._bucket}?region=REGION"
            )
        if any(path in answer.text for path in _METADATA_PATHS):
            return Unauthenticated, NO_CREDENTIALS
        if _NOT_RENEWED in answer.text:
            return Unauthenticated, f"{_NOT_RENEWED}: sign in again (aws sso login), or choose another with AWS_PROFILE"
        if answer.kind == "AlreadyExistsError" and answer.code not in BUSY:
            return AlreadyExists, "an object with this key exists"
        if answer.kind == "InvalidPathError":
            return IntegrityError, "an object in this listing has a name that obstore cannot read: rename or remove it"
        return None

    def _remedy(self) -> str:
        where = f" --region {self._region}" if self._region else ""
        if self._region and self._region != "us-east-1":
            where += f" --create-bucket-configuration LocationConstraint={self._region}"
        return (
            f"there is no bucket {self._bucket!r} in this account or region; make it: "
            f"aws s3api create-bucket --bucket {self._bucket}{where}"
        )


def _make(bucket: str, region: str, endpoint: str, environ: Mapping[str, str], timeout_s: float) -> "S3Store":
    chain = chain_of(environ)
    if chain == "none":
        raise no_credentials(Call("connect", bucket))
    try:
        from obstore.store import S3Store
    except ModuleNotFoundError as error:
        raise MissingDependency("obstore is not installed: pip install 'tidegate[aws]'") from error
    given: dict[str, Any] = {"region": region} if region else {}
    if endpoint:
        given["endpoint"] = endpoint
    if chain == "boto3":
        given["credential_provider"] = _profile(bucket)
    return S3Store(bucket, retry_config=no_retries(), client_options=client_options(timeout_s, endpoint), **given)


def _profile(bucket: str) -> Any:
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ModuleNotFoundError as error:
        raise MissingDependency("profiles need boto3: pip install 'tidegate[aws]'") from error
    from botocore.exceptions import BotoCoreError

    class Profile(Boto3CredentialProvider):
        def __call__(self) -> Any:
            try:
                return super().__call__()
            except BotoCoreError as error:
                # obstore passes on the text only, and boto3's text may name files of this machine
                raise RuntimeError(_NOT_RENEWED) from error

    try:
        return Profile(ttl=_CREDENTIALS_TTL)
    except (BotoCoreError, ValueError) as error:  # no such profile; nothing found
        raise no_credentials(Call("connect", bucket)) from error


if TYPE_CHECKING:
    from shared.ports import ObjectStore

    _port: type[ObjectStore] = ObstoreStore
