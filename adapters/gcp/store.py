"""The object store on Cloud Storage: create-if-absent by generation 0, an etag that is the object's generation.

Generations are new with every write, so that an etag never comes back; a body and its generation come in one answer.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from adapters.arguments import check_key, check_range, is_key
from adapters.deadlines import Deadline, persist, repeat
from adapters.gcp.objects import Bucket, Found
from adapters.gcp.refusals import Operation
from adapters.gcp.sdk import PROVIDER, place_of
from adapters.gcp.signing import signed_url
from adapters.write_id import Existing
from adapters.write_id import put_new as settle
from shared.errors import ConfigurationError, NotFound
from shared.ports import DEFAULT_TIMEOUT_S, MAX_KEY_BYTES, Created, Exists, Object, ObjectInfo

MAX_NAME_BYTES = 1024
_WRITE_SHARE = 2 / 3
"""Of the time left, so much goes to a write whose answer may be lost; the rest is for reading back."""


class GcsStore:
    """One logical store: a bucket, or what is below a prefix in it. Safe over threads and processes.

    Args: bucket: its name. prefix: before every key, with a "/" between; "" for none. endpoint: an emulator's or a
        private one, "" for Google's own. http: a session to use instead of this process's own.
    """

    def __init__(self, bucket: str, prefix: str = "", endpoint: str = "", *, http: Any = None) -> None:
        self._prefix = f"{prefix}/" if prefix else ""
        self._bucket = Bucket(bucket, endpoint, http)

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Object:
        """Return the whole object, its digest checked."""
        act, deadline = self._begun("get", key, "get", timeout_s)
        body, generation = persist(lambda left_s: self._bucket.read(self._prefix + key, act, deadline), deadline)
        return Object(body, generation)

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return a part of the object."""
        check_range(start, length)
        act, deadline = self._begun("get_range", key, "get", timeout_s)
        name = self._prefix + key
        if length == 0:
            if persist(lambda left_s: self._bucket.look(name, act, left_s), deadline) is None:
                raise act.error(NotFound, act.missing)
            return b""
        return persist(lambda left_s: self._bucket.read(name, act, deadline, start, length), deadline)[0]

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """Return what is known of the object, or None."""
        act, deadline = self._begun("head", key, "get", timeout_s)
        found = persist(lambda left_s: self._bucket.look(self._prefix + key, act, left_s), deadline)
        return None if found is None else _info(key, found)

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """Write on condition that there is no generation yet, and settle a lost answer by the write id that stands."""
        act, deadline = self._begun("put_new", key, "create", timeout_s, repeatable=False)
        look = self._bucket.act("put_new", key, "get")
        name = self._prefix + key

        def write(write_id: str, left_s: float) -> str:
            return self._bucket.write(name, body, act, left_s * _WRITE_SHARE, write_id)

        def existing(left_s: float) -> Existing | None:
            found = self._bucket.look(name, look, left_s)
            return None if found is None else Existing(found.write_id, found.generation)

        return settle(write, existing, deadline)

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Write the object and return its generation. Needs the permission to delete too: an overwrite is both."""
        act, deadline = self._begun("put", key, "create (and .delete, to overwrite)", timeout_s, repeatable=False)
        return repeat(lambda left_s: self._bucket.write(self._prefix + key, body, act, left_s), deadline)

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield the objects in order, a page of a thousand when it is reached; `timeout_s` is for each page.

        Names that outsiders gave and that cannot be keys ("folder/") are left out.
        """
        Deadline(timeout_s, PROVIDER, "list", prefix)
        return self._listed(prefix, after, lambda: Deadline(timeout_s, PROVIDER, "list", prefix))

    def delete(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Remove the object, if it is there. Sent again where an answer was lost: it may then remove a newer one."""
        act, deadline = self._begun("delete", key, "delete", timeout_s, repeatable=False)
        repeat(lambda left_s: self._bucket.remove(self._prefix + key, act, left_s), deadline)

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Return a V4 signed URL, signed by the service account's key or by Google in its name.

        Raises: Unsupported: the credentials can sign nothing (a person's, an emulator's). InvalidInput: more than 7
            days.
        """
        act, deadline = self._begun("presign", key, "get", timeout_s)
        return persist(lambda left_s: signed_url(self._bucket, self._prefix + key, method, expires_s, act), deadline)

    def _begun(
        self, operation: str, key: str, permission: str, timeout_s: float, *, repeatable: bool = True
    ) -> tuple[Operation, Deadline]:
        check_key(key)
        deadline = Deadline(timeout_s, PROVIDER, operation, key)
        return self._bucket.act(operation, key, permission, repeatable=repeatable), deadline

    def _listed(self, prefix: str, after: str, deadline: Callable[[], Deadline]) -> Iterator[ObjectInfo]:
        act = self._bucket.act("list", prefix, "list")
        before, token = len(self._prefix), ""
        start = self._prefix + after if after else ""
        while True:
            page = persist(partial(self._bucket.page, self._prefix + prefix, start, token, act), deadline())
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
