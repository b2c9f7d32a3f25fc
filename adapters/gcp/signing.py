"""V4 signed URLs for one object: signed with a service account's key, or by Google in the account's name."""

from datetime import timedelta
from typing import Any

from adapters.gcp.objects import Bucket
from adapters.gcp.refusals import Operation, refusing
from adapters.gcp.sdk import needs
from shared.errors import InvalidInput, Unsupported

LONGEST_S = 7 * 86_400


def signed_url(bucket: Bucket, name: str, method: str, expires_s: int, act: Operation) -> str:
    """Return a URL that lets its holder read (GET) or write (PUT) the object until it expires.

    Raises: InvalidInput: `expires_s` is not 1 s to 7 days. Unsupported: these credentials can sign nothing.
    """
    if not 1 <= expires_s <= LONGEST_S:
        expected = f"1 to {LONGEST_S}"
        raise InvalidInput(
            f"expires_s is {expires_s}: use {expected}", field="expires_s", got=str(expires_s), expected=expected
        )
    with refusing(act):
        held = bucket.held_credentials()
        signer = _signer(held)
        if signer is None:
            raise act.error(
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
    """Return the SDK's own object, which signs and is asked for nothing else."""
    storage = needs(lambda: __import__("google.cloud.storage", fromlist=["Client"]))
    return storage.Client(project="none", credentials=held).bucket(bucket.name).blob(name)


def _signer(held: Any) -> dict[str, Any] | None:
    """Return how to sign: with the credentials' own key, or with their token at Google's; None where neither is."""
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
