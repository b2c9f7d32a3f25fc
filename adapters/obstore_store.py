"""What the object stores over obstore share (S3, Azure Blob): everything but how one is made and how it speaks.

obstore sends once here; `persist` repeats what certainly was not done, and a write id settles lost answers of put_new.
Prefixes are folders to obstore: the folder is listed, and the rest left out (docs/decisions/0001).
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from adapters import write_id
from adapters.arguments import check_expires, check_key, check_range, is_key
from adapters.deadlines import Deadline, persist, repeat
from adapters.obstore_answers import Answer, answer_of, begins_past_the_end
from adapters.obstore_calls import ClientPool, interruptible
from adapters.write_id import WRITE_ID, Existing
from shared.errors import (
    AlreadyExists,
    InvalidInput,
    OutcomeUnknown,
    TidegateError,
)
from shared.ports import DEFAULT_TIMEOUT_S, MAX_KEY_BYTES, Created, Exists, Object, ObjectInfo

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, RetryConfig, S3Store

    Store = AzureStore | S3Store

MAX_PREFIX_BYTES = 1024 - MAX_KEY_BYTES
_CONNECT_S = 3.0
_WRITE_SHARE = 0.75
"""Of the time left, for one attempt of put_new: the rest is for reading back, should its answer not come."""
_PAGE = 1000
_REFUSED = (400, 401, 403)
_MAX_BYTES = 1 << 48
"""No object is larger; servers misread ranges that end beyond all bounds."""
T = TypeVar("T")


def no_retries() -> "RetryConfig":
    """Return the setting by which obstore sends once."""
    return {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


def client_options(timeout_s: float, endpoint: str) -> "ClientConfig":
    """Return the settings of a client that waits so long for a whole answer; without encryption only where asked."""
    return {
        "timeout": timedelta(seconds=timeout_s),
        "connect_timeout": timedelta(seconds=min(_CONNECT_S, timeout_s)),
        "allow_http": endpoint.startswith("http://"),
    }


class ObstoreStore:
    """One bucket or container, or what lies below a prefix in it.

    Args:
        provider: its name, for errors.
        make: seconds -> obstore's store with `no_retries()` and `client_options(seconds, ...)`, when it is first
            needed; it raises only errors of shared.errors.
        translate: (answer, operation, key, writes) -> the error that the answer means: AlreadyExists where an object
            is in the way of put_new; Throttled or Unavailable only where nothing was done, else, where `writes`,
            OutcomeUnknown; NotFound where the object or its place is missing.
        place_is_missing: whether an answer says that there is no such bucket or container.
        prefix: ends with "/" where it is not empty; stands before every key.
        max_segments: most parts between "/" that the provider takes in a key, with the prefix.
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
        """Return the whole object, by one request: bytes and etag are of one answer."""
        path, deadline = self._begin("get", key, timeout_s)

        def fetch(client: Any) -> Object:
            found = _obstore().get(client, path)
            body = bytes(found.bytes())
            if len(body) != found.meta["size"]:
                raise OSError("the answer broke off")
            return Object(body, _etag(found.meta))

        return persist(lambda left_s: self._call(fetch, left_s, "get", key), deadline)

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

        return persist(lambda left_s: self._call(fetch, left_s, "get_range", key), deadline)

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """Return what is known of the object, or None."""
        path, deadline = self._begin("head", key, timeout_s)
        return self._head("head", key, path, deadline)

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """Create the object by a conditional write that carries an id, which is read back where the answer was lost."""
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
                # A server that said "too busy" may have done it all the same: only reading back tells.
                raise OutcomeUnknown(
                    "an object stands there, perhaps our own",
                    provider=self._provider,
                    operation="put_new",
                    resource=key,
                ) from error

        return write_id.put_new(write, lambda left_s: self._existing(key, path, left_s), deadline)

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Write the object in one request; a lost answer is settled by writing again."""
        path, deadline = self._begin("put", key, timeout_s)

        def write(client: Any) -> str:
            return _etag(_obstore().put(client, path, body, use_multipart=False))

        return self._again(write, deadline)

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield the objects in order; `timeout_s` is for each page of them.

        Objects whose names are not keys are left out. Raises: IntegrityError: the name of one has an empty or a dot
        segment, with which obstore reads no further.
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

        self._again(remove, deadline)

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Return a URL that lets its holder read or write just this object.

        Raises: InvalidInput: not 1 s to 7 days. Unsupported: these credentials cannot sign.
        """
        check_expires(expires_s)
        path, deadline = self._begin("presign", key, timeout_s)

        def sign(client: Any) -> str:
            return str(_obstore().sign(client, method, path, timedelta(seconds=expires_s)))

        return persist(lambda left_s: self._call(sign, left_s, "presign", key), deadline)

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

    def _call(self, act: Callable[[Any], T], left_s: float, operation: str, key: str, *, writes: bool = False) -> T:
        """Return what one attempt, `act(obstore's store)`, returns; what it raises is one of shared.errors."""
        client = self._clients.client(left_s)
        try:
            found = interruptible(lambda: act(client))
        except TidegateError:
            raise
        except Exception as error:
            raise self._translate(answer_of(error), operation, key, writes) from error
        self._place_seen = True
        return found

    def _again(self, act: Callable[[Any], T], deadline: Deadline) -> T:
        """Return what a write returns that may be done twice: it is, until an answer arrives."""
        operation, key = deadline.operation, deadline.resource
        return repeat(lambda left_s: self._call(act, left_s, operation, key, writes=True), deadline)

    def _head(self, operation: str, key: str, path: str, deadline: Deadline) -> ObjectInfo | None:
        def fetch(client: Any) -> ObjectInfo | None:
            try:
                return self._info(_obstore().head(client, path))
            except FileNotFoundError as error:
                if not self._place_seen:
                    told = _refusal(client, path, error)
                    if self._place_is_missing(answer_of(told)):
                        raise told from error
                return None
            except Exception as error:
                if answer_of(error).status in _REFUSED:
                    raise _refusal(client, path, error) from error
                raise

        return persist(lambda left_s: self._call(fetch, left_s, operation, key), deadline)

    def _existing(self, key: str, path: str, left_s: float) -> Existing | None:
        def fetch(client: Any) -> Existing | None:
            try:
                found = _obstore().get(client, path, options={"head": True})
            except FileNotFoundError:
                return None
            return Existing(str(found.attributes.get(WRITE_ID, "")), _etag(found.meta))

        return self._call(fetch, left_s, "put_new", key)

    def _listed(self, folder: str, prefix: str, after: str, timeout_s: float) -> Iterator[ObjectInfo]:
        from adapters.obstore_listing import InOrder  # few functions list

        order = InOrder(after)
        stream: Any = None

        def page(client: Any) -> list[ObjectInfo] | None:
            nonlocal stream
            if stream is None:  # again, from where the order is certain: a stream that failed is at its end
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
            found = persist(fetch, Deadline(timeout_s, self._provider, "list", prefix))
            for info in order.rest() if found is None else order.taken(found):
                if info.key.startswith(prefix):
                    if is_key(info.key) and (info.size_bytes or self._stands(info.key, timeout_s)):
                        yield info
                elif info.key > prefix:
                    return
            if found is None:
                return

    def _stands(self, key: str, timeout_s: float) -> bool:
        """Return whether an empty object has this very key: obstore also lists `key/`, a folder's mark, under it."""
        return self.head(key, timeout_s=timeout_s) is not None

    def _info(self, meta: Any) -> ObjectInfo:
        key = str(meta["path"])[len(self._prefix) :]
        # Whole seconds: HTTP's Last-Modified has no finer ones, while a listing may (some S3 stores).
        modified = meta["last_modified"].replace(microsecond=0).timestamp()
        return ObjectInfo(key, int(meta["size"]), _etag(meta), modified)


def prefix_of(path: str) -> str:
    """Return the prefix that a URL's path means, with "/" at its end, or "". Raises: InvalidInput: not fit for one.

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
    """Return GET's error for what HEAD was refused, since HEAD's answer has no body that would say why."""
    try:
        _obstore().get(client, path)
    except Exception as told:
        if answer_of(told).status == answer_of(error).status:
            return told
    return error


def _obstore() -> Any:  # the SDK is imported with the first call; its own types are checked where stores are made
    import obstore

    return obstore


def _etag(meta: Any) -> str:
    return str(meta["e_tag"]).strip('"')  # a listing gives it without quotes
