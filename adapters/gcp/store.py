"""The object store on Cloud Storage: create-if-absent by generation 0, with the object's generation as its etag.

Every write has a new generation, so that no etag is used twice. A body and its generation come in one answer.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from adapters.deadlines import Deadline, retry, retry_idempotent
from adapters.gcp.failures import Call
from adapters.gcp.objects import Bucket, Found
from adapters.gcp.sdk import PROVIDER, place_of
from adapters.gcp.signing import signed_url
from adapters.write_id import StoredWrite
from adapters.write_id import put_new as settle
from shared.errors import ConfigurationError, NotFound
from shared.ports import DEFAULT_TIMEOUT_S, MAX_KEY_BYTES, Created, Exists, Object, ObjectInfo
from tidegate.arguments import check_key, check_range, is_key

MAX_NAME_BYTES = 1024
_WRITE_SHARE = 2 / 3
"""The part of the time left that one attempt of put_new may take. The rest is for reading back a lost write."""


class GcsStore:
    """One logical store: a bucket, or the part of it below a prefix. Safe over threads and processes.

    Args:
        bucket: its name.
        prefix: precedes every key, with a "/" in between; "" for none.
        endpoint: an emulator's or a private one; "" for Google's own.
        http: a session to use instead of this process's own.
    """

    def __init__(self, bucket: str, prefix: str = "", endpoint: str = "", *, http: Any = None) -> None:
        self._prefix = f"{prefix}/" if prefix else ""
        self._bucket = Bucket(bucket, endpoint, http)

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Object:
        """Return the whole object, after a check of its digest."""
        call, deadline = self._begin("get", key, "get", timeout_s)
        body, generation = retry(lambda left_s: self._bucket.read(self._prefix + key, call, deadline), deadline)
        return Object(body, generation)

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return a part of the object."""
        check_range(start, length)
        call, deadline = self._begin("get_range", key, "get", timeout_s)
        name = self._prefix + key
        if length == 0:
            if retry(lambda left_s: self._bucket.head(name, call, left_s), deadline) is None:
                raise call.error(NotFound, call.missing)
            return b""
        return retry(lambda left_s: self._bucket.read(name, call, deadline, start, length), deadline)[0]

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """Return the object's metadata, or None."""
        call, deadline = self._begin("head", key, "get", timeout_s)
        found = retry(lambda left_s: self._bucket.head(self._prefix + key, call, left_s), deadline)
        return None if found is None else _info(key, found)

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """Create the object on the condition of generation 0. A lost answer is settled by the object's write id."""
        call, deadline = self._begin("put_new", key, "create", timeout_s, repeatable=False)
        reading = self._bucket.call("put_new", key, "get")
        name = self._prefix + key

        def write(write_id: str, left_s: float) -> str:
            return self._bucket.write(name, body, call, left_s * _WRITE_SHARE, write_id)

        def existing(left_s: float) -> StoredWrite | None:
            found = self._bucket.head(name, reading, left_s)
            return None if found is None else StoredWrite(found.write_id, found.generation)

        return settle(write, existing, deadline)

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Write the object and return its generation. Overwriting also needs the permission to delete."""
        call, deadline = self._begin("put", key, "create (and .delete, to overwrite)", timeout_s, repeatable=False)
        return retry_idempotent(lambda left_s: self._bucket.write(self._prefix + key, body, call, left_s), deadline)

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield the objects in order, in pages of a thousand. `timeout_s` is for each page.

        Objects whose names are no keys ("folder/") are left out.
        """
        Deadline(timeout_s, PROVIDER, "list", prefix)
        return self._listed(prefix, after, lambda: Deadline(timeout_s, PROVIDER, "list", prefix))

    def delete(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Remove the object, if it exists. Repeated after a lost answer: it may then remove a newer object."""
        call, deadline = self._begin("delete", key, "delete", timeout_s, repeatable=False)
        retry_idempotent(lambda left_s: self._bucket.remove(self._prefix + key, call, left_s), deadline)

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Return a V4 signed URL, signed by the service account's key or by Google in its name.

        Raises: Unsupported: the credentials cannot sign (a person's, an emulator's). InvalidInput: more than 7 days.
        """
        call, deadline = self._begin("presign", key, "get", timeout_s)
        return retry(lambda left_s: signed_url(self._bucket, self._prefix + key, method, expires_s, call), deadline)

    def _begin(
        self, operation: str, key: str, permission: str, timeout_s: float, *, repeatable: bool = True
    ) -> tuple[Call, Deadline]:
        check_key(key)
        deadline = Deadline(timeout_s, PROVIDER, operation, key)
        return self._bucket.call(operation, key, permission, repeatable=repeatable), deadline

    def _listed(self, prefix: str, after: str, deadline: Callable[[], Deadline]) -> Iterator[ObjectInfo]:
        call = self._bucket.call("list", prefix, "list")
        before, token = len(self._prefix), ""
        start = self._prefix + after if after else ""
        while True:
            page = retry(partial(self._bucket.page, self._prefix + prefix, start, token, call), deadline())
            for found in page.found:
                key = found.name[before:]
                if key > after and is_key(key):
                    yield _info(key, found)
            token = page.token
            if not token:
                return


def from_url(url: str) -> GcsStore:
    """Return the store of `gs://BUCKET[/PREFIX]`. Raises: ConfigurationError: not such a URL."""
    place = place_of(url, "gs://BUCKET[/PREFIX]", range(MAX_NAME_BYTES))
    prefix = "/".join(place.path)
    if prefix and (not is_key(prefix) or len(prefix.encode()) + 1 + MAX_KEY_BYTES > MAX_NAME_BYTES):
        raise ConfigurationError(
            f"the prefix in {url[:200]!r} cannot begin an object's name: use up to "
            f"{MAX_NAME_BYTES - MAX_KEY_BYTES - 1} bytes, in segments parted by single '/'",
            provider=PROVIDER,
        )
    return GcsStore(place.name, prefix, place.endpoint)


def _info(key: str, found: Found) -> ObjectInfo:
    return ObjectInfo(key, found.size_bytes, found.generation, found.updated)


if TYPE_CHECKING:
    from shared.ports import ObjectStore

    _port: type[ObjectStore] = GcsStore
