"""Signed URLs of single blobs (service SAS), made with an account key.

obstore signs the name percent-encoded, while Azure expects it decoded, so that Azure refuses its URLs for names with a
space or an accent. So obstore signs only where there is no account key, and only plain names.
Source: "Create a service SAS", string to sign of version 2020-12-06 (learn.microsoft.com, Azure Storage).
"""

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import quote, urlencode

from shared.errors import ConfigurationError

VERSION = "2020-12-06"
_PERMISSIONS = {"GET": "r", "PUT": "w"}
_EARLIER = timedelta(minutes=5)
"""A URL is valid from this long before now, since clocks differ."""


def signed_url(
    address: str,
    account: str,
    container: str,
    name: str,
    method: Literal["GET", "PUT"],
    now: float,
    expires_s: int,
    key: str,
) -> str:
    """Return a URL that lets its holder read or write the blob until it expires.

    Args: address: the account's blob address. name: the blob's name, not encoded. key: the account's key, in base64.
    Raises: ConfigurationError: the key is not base64.
    """
    at = datetime.fromtimestamp(now, UTC)
    start, expiry = (_time(at - _EARLIER), _time(at + timedelta(seconds=expires_s)))
    protocol = "https" if address.startswith("https://") else ""
    resource = f"/blob/{account}/{container}/{name}"
    # In order: permissions, start, expiry, resource, identifier, IP range, protocol, version, kind, snapshot,
    # encryption scope, and five headers of the answer.
    signed = (_PERMISSIONS[method], start, expiry, resource, "", "", protocol, VERSION, "b", "", "", *[""] * 5)
    try:
        secret = base64.b64decode(key, validate=True)
    except binascii.Error as error:
        raise ConfigurationError("the account key in the environment is not base64: copy it again") from error
    digest = hmac.new(secret, "\n".join(signed).encode(), hashlib.sha256).digest()
    query = {
        "sv": VERSION,
        "sr": "b",
        "sp": _PERMISSIONS[method],
        "st": start,
        "se": expiry,
        **({"spr": protocol} if protocol else {}),
        "sig": base64.b64encode(digest).decode(),
    }
    return f"{address}/{container}/{quote(name)}?{urlencode(query)}"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
