"""V4 signed URLs of single objects, signed with a service account's key or by Google in the account's name."""

from datetime import timedelta
from typing import Any

from adapters.gcp.failures import Call, translating_errors
from adapters.gcp.objects import Bucket
from adapters.gcp.sdk import with_sdk
from shared.errors import InvalidInput, Unsupported

LONGEST_S = 7 * 86_400


def signed_url(bucket: Bucket, name: str, method: str, expires_s: int, call: Call) -> str:
    """Return a URL that lets its holder read (GET) or write (PUT) the object until it expires.

    Raises: InvalidInput: `expires_s` is not 1 s to 7 days. Unsupported: these credentials cannot sign.
    """
    if not 1 <= expires_s <= LONGEST_S:
        expected = f"1 to {LONGEST_S}"
        raise InvalidInput(
            f"expires_s is {expires_s}: use {expected}", field="expires_s", got=str(expires_s), expected=expected
        )
    with translating_errors(call):
        held = bucket.held_credentials()
        signer = _signer(held)
        if signer is None:
            raise call.error(
                Unsupported,
                "these credentials cannot sign a URL: use a service account (on Google Cloud, one that may act as "
                "itself: roles/iam.serviceAccountTokenCreator), or upload through the gateway",
            )
        return str(
            _blob(bucket, name, held).generate_signed_url(
                version="v4",
                expiration=timedelta(seconds=expires_s),
                method=method,
                api_access_endpoint=bucket.endpoint,
                **signer,
            )
        )


def _blob(bucket: Bucket, name: str, held: Any) -> Any:
    """Return the SDK's record of the object, which is used for signing only."""
    storage = with_sdk(lambda: __import__("google.cloud.storage", fromlist=["Client"]))
    return storage.Client(project="none", credentials=held).bucket(bucket.name).blob(name)


def _signer(held: Any) -> dict[str, Any] | None:
    """Return the SDK's options for signing: with the credentials' own key, or by Google with their token.

    None where the credentials have neither.
    """
    from google.auth.credentials import AnonymousCredentials, Signing
    from google.auth.transport.requests import Request

    if isinstance(held, AnonymousCredentials):
        return None
    if isinstance(held, Signing):
        return {"credentials": held}
    account = getattr(held, "service_account_email", None)
    if not account:
        return None
    if not held.valid:
        held.refresh(Request())
    return {"service_account_email": held.service_account_email, "access_token": held.token}
