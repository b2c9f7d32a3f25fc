"""The object store over obstore, for S3 and Azure Blob. Each provider adds its client and its error codes.

obstore is set to send once. `retry` repeats requests that certainly had no effect, and a write id settles lost answers
of put_new. obstore lists by folder: the adapter lists the prefix's folder and filters (docs/decisions/0001).
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from adapters import write_id
from adapters.deadlines import Deadline, retry, retry_idempotent
from adapters.obstore_answers import Answer, answer_of, begins_past_the_end
from adapters.obstore_calls import ClientPool, interruptible
from adapters.write_id import WRITE_ID, StoredWrite
from shared.errors import (
    AlreadyExists,
    InvalidInput,
    OutcomeUnknown,
    TidegateError,
)
from shared.ports import DEFAULT_TIMEOUT_S, MAX_KEY_BYTES, Created, Exists, Object, ObjectInfo
from tidegate.arguments import check_expires, check_key, check_range, is_key

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, RetryConfig, S3Store

    Store = AzureStore | S3Store

MAX_PREFIX_BYTES = 1024 - MAX_KEY_BYTES
_CONNECT_S = 3.0
_WRITE_SHARE = 0.75
"""The part of the time left that one attempt of put_new may take. The rest is for reading back a lost write."""
_PAGE = 1000
_REFUSED = (400, 401, 403)
_MAX_BYTES = 1 << 48
"""More than the size of any object. Servers misread ranges with greater ends."""
T = TypeVar("T")


def no_retries() -> "RetryConfig":
    """Return the setting with which obstore sends each request once."""
    return {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


def client_options(timeout_s: float, endpoint: str) -> "ClientConfig":
    """Return the settings of a client with this timeout for a whole answer. HTTP is allowed for an http:// endpoint."""
    return {
        "timeout": timedelta(seconds=timeout_s),
        "connect_timeout": timedelta(seconds=min(_CONNECT_S, timeout_s)),
        "allow_http": endpoint.startswith("http://"),
    }


class ObstoreStore:
    """One bucket or container, or the part of it below a prefix.

    Args:
        provider: its name, for errors.
        make: (timeout in seconds) -> obstore's store with `no_retries()` and `client_options(timeout, ...)`. It raises
            errors of shared.errors only.
        translate: (answer, operation, key, writes) -> the error for an answer. AlreadyExists where put_new found an
            object; Throttled or Unavailable only where nothing was done, else OutcomeUnknown if `writes`; NotFound
            where the object, its bucket or its container is missing.
        place_is_missing: whether an answer means that the bucket or container is missing.
        prefix: precedes every key; ends with "/" unless it is empty.
        max_segments: the most segments of a key, prefix included, that the provider allows.
    """

    def __init__(
        self,
        provider: str,
        make: "Callable[[float], Store]",
        translate: Callable[[Answer, str, str, bool], TidegateError],
        place_is_missing: Callable[[Answer], bool],
        *,
        prefix: str = "",
        max_segments: int = 1 << 30,
    ) -> None:
        self._provider = provider
        self._clients = ClientPool(make)
        self._translate = translate
        self._place_is_missing = place_is_missing
        self._prefix = prefix
        self._max_segments = max_segments - prefix.count("/")
        self._place_seen = False

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Object:
        """Return the whole object by one request, so that body and etag are of one answer."""
        path, deadline = self._begin("get", key, timeout_s)

        def fetch(client: Any) -> Object:
            found = _obstore().get(client, path)
            body = bytes(found.bytes())
            if len(body) != found.meta["size"]:
                raise OSError("the answer broke off")
            return Object(body, _etag(found.meta))

        return retry(lambda left_s: self._call(fetch, left_s, "get", key), deadline)

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return a part of the object."""
        check_range(start, length)
        length = min(length, max(0, _MAX_BYTES - start))
        path, deadline = self._begin("get_range", key, timeout_s)
        if length == 0:  # HTTP has no empty ranges
            if self._head("get_range", key, path, deadline) is None:
                raise self._translate(answer_of(FileNotFoundError()), "get_range", key, False)
            return b""

        def fetch(client: Any) -> bytes:
            try:
                return bytes(_obstore().get_range(client, path, start=start, length=length))
            except Exception as error:
                if begins_past_the_end(answer_of(error)):
                    return b""
                raise

        return retry(lambda left_s: self._call(fetch, left_s, "get_range", key), deadline)

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """Return the object's metadata, or None."""
        path, deadline = self._begin("head", key, timeout_s)
        return self._head("head", key, path, deadline)

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """Create the object by a conditional write with a write id. After a lost answer the id is read back."""
        path, deadline = self._begin("put_new", key, timeout_s)
        attempts = 0

        def write(write_id: str, left_s: float) -> str:
            nonlocal attempts
            attempts += 1

            def create(client: Any) -> str:
                return _etag(_obstore().put(client, path, body, mode="create", attributes={WRITE_ID: write_id}))

            try:
                return self._call(create, left_s * _WRITE_SHARE, "put_new", key, writes=True)
            except AlreadyExists as error:
                if attempts == 1:
                    raise
                # A server may have done the write and still have answered "too busy". Only reading back decides.
                raise OutcomeUnknown(
                    "an object exists, perhaps our own",
                    provider=self._provider,
                    operation="put_new",
                    resource=key,
                ) from error

        return write_id.put_new(write, lambda left_s: self._existing(key, path, left_s), deadline)

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Write the object in one request. After a lost answer it is written again."""
        path, deadline = self._begin("put", key, timeout_s)

        def write(client: Any) -> str:
            return _etag(_obstore().put(client, path, body, use_multipart=False))

        return self._repeatedly(write, deadline)

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield the objects in order. `timeout_s` is for each page.

        Objects whose names are no keys are left out.
        Raises: IntegrityError: a name has an empty or a dot segment, where obstore stops listing.
        """
        Deadline(timeout_s, self._provider, "list", prefix)
        folder = prefix[: prefix.rfind("/") + 1]
        if folder and not is_key(folder[:-1]):
            return iter(())
        return self._listed(folder, prefix, after, timeout_s)

    def delete(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Remove the object, if it is there."""
        path, deadline = self._begin("delete", key, timeout_s)

        def remove(client: Any) -> None:
            try:
                _obstore().delete(client, path)
            except FileNotFoundError as error:
                if self._place_is_missing(answer_of(error)):
                    raise

        self._repeatedly(remove, deadline)

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Return a URL that lets its holder read or write this one object.

        Raises: InvalidInput: not 1 s to 7 days. Unsupported: these credentials cannot sign.
        """
        check_expires(expires_s)
        path, deadline = self._begin("presign", key, timeout_s)

        def sign(client: Any) -> str:
            return str(_obstore().sign(client, method, path, timedelta(seconds=expires_s)))

        return retry(lambda left_s: self._call(sign, left_s, "presign", key), deadline)

    def _begin(self, operation: str, key: str, timeout_s: float) -> tuple[str, Deadline]:
        check_key(key)
        if key.count("/") >= self._max_segments:
            raise InvalidInput(
                f"the key has more than {self._max_segments} segments, the most that this store takes",
                field="key",
                got=f"{key.count('/') + 1} segments",
                expected=f"at most {self._max_segments} segments",
            )
        return self._prefix + key, Deadline(timeout_s, self._provider, operation, key)

    def _call(self, request: Callable[[Any], T], left_s: float, operation: str, key: str, *, writes: bool = False) -> T:
        """Return what one attempt, `request(obstore's store)`, returns. Raises: shared.errors only."""
        client = self._clients.client(left_s)
        try:
            found = interruptible(lambda: request(client))
        except TidegateError:
            raise
        except Exception as error:
            raise self._translate(answer_of(error), operation, key, writes) from error
        self._place_seen = True
        return found

    def _repeatedly(self, request: Callable[[Any], T], deadline: Deadline) -> T:
        """Return what an idempotent write returns, repeating it until an answer arrives."""
        operation, key = deadline.operation, deadline.resource
        return retry_idempotent(lambda left_s: self._call(request, left_s, operation, key, writes=True), deadline)

    def _head(self, operation: str, key: str, path: str, deadline: Deadline) -> ObjectInfo | None:
        def fetch(client: Any) -> ObjectInfo | None:
            try:
                return self._info(_obstore().head(client, path))
            except FileNotFoundError as error:
                if not self._place_seen:
                    refusal = _refusal(client, path, error)
                    if self._place_is_missing(answer_of(refusal)):
                        raise refusal from error
                return None
            except Exception as error:
                if answer_of(error).status in _REFUSED:
                    raise _refusal(client, path, error) from error
                raise

        return retry(lambda left_s: self._call(fetch, left_s, operation, key), deadline)

    def _existing(self, key: str, path: str, left_s: float) -> StoredWrite | None:
        def fetch(client: Any) -> StoredWrite | None:
            try:
                found = _obstore().get(client, path, options={"head": True})
            except FileNotFoundError:
                return None
            return StoredWrite(str(found.attributes.get(WRITE_ID, "")), _etag(found.meta))

        return self._call(fetch, left_s, "put_new", key)

    def _listed(self, folder: str, prefix: str, after: str, timeout_s: float) -> Iterator[ObjectInfo]:
        from adapters.obstore_listing import InOrder  # few functions list

        order = InOrder(after)
        stream: Any = None

        def page(client: Any) -> list[ObjectInfo] | None:
            nonlocal stream
            if stream is None:  # the first page, or a new listing after a failure, from where the order is certain
                start = order.start().rstrip("/")
                at = self._prefix + start if is_key(start) else None
                within = self._prefix + folder
                stream = _obstore().list(client, within[:-1] or None, offset=at, chunk_size=_PAGE)
            found = next(stream, None)
            return None if found is None else [self._info(each) for each in found]

        def fetch(left_s: float) -> list[ObjectInfo] | None:
            nonlocal stream
            try:
                return self._call(page, left_s, "list", prefix)
            except TidegateError:
                stream = None
                order.restart()
                raise

        while True:
            found = retry(fetch, Deadline(timeout_s, self._provider, "list", prefix))
            for info in order.held_back() if found is None else order.taken(found):
                if info.key.startswith(prefix):
                    if is_key(info.key) and (info.size_bytes or self._is_object(info.key, timeout_s)):
                        yield info
                elif info.key > prefix:
                    return
            if found is None:
                return

    def _is_object(self, key: str, timeout_s: float) -> bool:
        """Return whether an empty object has this key: obstore lists the folder marker `key/` under the same name."""
        return self.head(key, timeout_s=timeout_s) is not None

    def _info(self, meta: Any) -> ObjectInfo:
        key = str(meta["path"])[len(self._prefix) :]
        # Whole seconds: HTTP's Last-Modified has no fractions, while listings of some S3 stores have.
        modified = meta["last_modified"].replace(microsecond=0).timestamp()
        return ObjectInfo(key, int(meta["size"]), _etag(meta), modified)


def prefix_of(path: str) -> str:
    """Return a URL's path as a prefix that ends with "/", or "". Raises: InvalidInput: it cannot be a prefix.

    >>> prefix_of("/a/b/"), prefix_of("/")
    ('a/b/', '')
    """
    prefix = path.strip("/")
    if not prefix:
        return ""
    check_key(prefix)
    if len(prefix.encode()) >= MAX_PREFIX_BYTES:
        raise InvalidInput(
            f"the prefix has {len(prefix.encode())} bytes: use fewer than {MAX_PREFIX_BYTES}", field="prefix"
        )
    return prefix + "/"


def _refusal(client: Any, path: str, error: Exception) -> Exception:
    """Return the error of GET where HEAD was refused: an answer to HEAD has no body with a reason."""
    try:
        _obstore().get(client, path)
    except Exception as refusal:
        if answer_of(refusal).status == answer_of(error).status:
            return refusal
    return error


def _obstore() -> Any:  # imported with the first call; typed where stores are made
    import obstore

    return obstore


def _etag(meta: Any) -> str:
    return str(meta["e_tag"]).strip('"')  # listings have it without quotes
