"""The object store on Azure Blob Storage, in a flat namespace: one container, or the part of it below a prefix.

The code shared with S3 is in adapters/obstore_store.py. A request to a `presign` URL for PUT needs the header
`x-ms-blob-type: BlockBlob`.
"""

import re
import time
from typing import TYPE_CHECKING, Literal

from adapters.addresses import check_encrypted, read_address
from adapters.azure.failures import PROVIDER, Call, blob_failure, place_is_missing
from adapters.azure.sdk import STORAGE_CREDENTIALS, account_key, account_url, blob_store
from adapters.azure.signing import signed_url
from adapters.obstore_answers import Answer
from adapters.obstore_store import ObstoreStore, prefix_of
from shared.errors import ConfigurationError, InvalidInput, TidegateError, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S
from tidegate.arguments import check_expires

MAX_SEGMENTS = 254
FORM = "az://CONTAINER[/PREFIX]?account=NAME[&endpoint=http://127.0.0.1:PORT]"
_CONTAINER = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_PLAIN = re.compile("[A-Za-z0-9/_.~-]+")
_ACCOUNT = re.compile("[a-z0-9]{3,24}")
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_ACTIONS = {
    **dict.fromkeys(("get", "get_range", "head", "list"), f"{_BLOBS}/read"),
    **dict.fromkeys(("put", "put_new"), f"{_BLOBS}/write"),
    "delete": f"{_BLOBS}/delete",
    "presign": "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action",
}


class AzureBlobStore(ObstoreStore):
    """The blobs of one container. `list` refuses a hierarchical namespace, which lists in another order."""

    def __init__(self, container: str, account: str, *, prefix: str = "", endpoint: str = "") -> None:
        address = account_url("blob", account, endpoint) if endpoint else ""
        place = f"the container {container!r} of account {account!r}"
        make_it = f"az storage container create --name {container} --account-name {account}"

        def translate(answer: Answer, operation: str, key: str, writes: bool) -> TidegateError:
            call = Call(
                operation,
                key,
                place=place,
                remedy=f"make it: {make_it}",
                action=_ACTIONS.get(operation, ""),
                credentials=STORAGE_CREDENTIALS,
                writes=writes,
            )
            return blob_failure(answer.kind, answer.status, answer.code, answer.text, answer.sent, call)

        super().__init__(
            PROVIDER,
            lambda timeout_s: blob_store(container, account, address, timeout_s),
            translate,
            lambda answer: place_is_missing(answer.code, answer.text),
            prefix=prefix,
            max_segments=MAX_SEGMENTS,
        )
        self._container = container
        self._account = account
        self._address = address or account_url("blob", account, "")

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Return a URL that lets its holder read or write this one object.

        Raises: InvalidInput: not 1 s to 7 days. Unsupported: the credential is a SAS, or an identity and the key has
            characters other than letters, digits and `/_.~-`.
        """
        check_expires(expires_s)
        path, _ = self._begin("presign", key, timeout_s)
        if secret := account_key():
            now = time.time()
            return signed_url(self._address, self._account, self._container, path, method, now, expires_s, secret)
        if not _PLAIN.fullmatch(path):
            raise Unsupported(
                "an identity signs only keys of ASCII letters, digits and /_.~- here: rename the object, or set "
                "AZURE_STORAGE_ACCOUNT_KEY",
                provider=PROVIDER,
                operation="presign",
                resource=key,
            )
        return super().presign(key, method, expires_s, timeout_s=timeout_s)


def from_url(url: str) -> AzureBlobStore:
    """Return the store of `az://CONTAINER[/PREFIX]?account=NAME`. Raises: ConfigurationError: not such a URL."""
    address = read_address(url, FORM, ("account",))
    account = address.options.get("account", "")
    endpoint = address.options.get("endpoint", "")
    if not _CONTAINER.fullmatch(address.host):
        raise ConfigurationError(
            f"az: {address.host[:80]!r} cannot name a container: use 3 to 63 lower-case letters, digits and single "
            f"hyphens, as in {FORM}"
        )
    if not _ACCOUNT.fullmatch(account):
        raise ConfigurationError(f"az: name the storage account, 3 to 24 lower-case letters or digits, as in {FORM}")
    check_encrypted(endpoint)
    try:
        prefix = prefix_of(address.path)
    except InvalidInput as error:
        raise ConfigurationError(f"az: the prefix cannot be one: {error.message}") from error
    return AzureBlobStore(address.host, account, prefix=prefix, endpoint=endpoint)


if TYPE_CHECKING:
    from shared.ports import ObjectStore

    _port: type[ObjectStore] = AzureBlobStore
