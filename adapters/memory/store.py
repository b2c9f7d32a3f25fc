"""The object store in memory: the reference implementation, and the store of the simulation."""

import builtins
import copy
import hashlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from adapters.memory.clock import MemoryClock
from adapters.memory.faults import HINTS, Decision, FaultPlan
from adapters.memory.locked import Locked
from shared.errors import NotFound, Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, Created, Exists, Object, ObjectInfo
from tidegate.arguments import check_key, check_range

PAGE = 1000
_PAST = 8
"""The number of earlier versions of a hint that a stale read can return."""


class _Stored(NamedTuple):
    body: bytes
    etag: str
    modified: float


class MemoryStore(Locked):
    """One logical store in a dictionary. `name` is its name in the plan's trace."""

    def __init__(
        self, clock: MemoryClock | None = None, faults: FaultPlan | None = None, *, name: str = "store"
    ) -> None:
        super().__init__()
        self.name = name
        self._clock = clock or MemoryClock()
        self._faults = faults or FaultPlan(self._clock)
        self._objects: dict[str, _Stored] = {}
        self._keys: list[str] = []  # sorted by code points, which is the order of UTF-8 bytes
        self._writes = 0
        self._past: dict[str, list[_Stored | None]] = {}

    def get(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Object:
        """Return the object; under a stale fault, an earlier version of a hint."""
        check_key(key)
        fault = self._faults.before(self.name, "get", key, timeout_s)
        found = self._objects.get(key)
        if fault is not None:
            if fault.fault == "stale":
                found = self._earlier(key, fault, found)
            self._faults.after(fault)
        if found is None:
            raise self._not_found("get", key)
        return Object(found.body, found.etag)

    def get_range(self, key: str, start: int, length: int, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return a part of the object."""
        check_key(key)
        check_range(start, length)
        fault = self._faults.before(self.name, "get_range", key, timeout_s)
        found = self._objects.get(key)
        if fault is not None:
            self._faults.after(fault)
        if found is None:
            raise self._not_found("get_range", key)
        return found.body[start : start + length]

    def head(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ObjectInfo | None:
        """Return the object's metadata, or None."""
        check_key(key)
        fault = self._faults.before(self.name, "head", key, timeout_s)
        found = self._objects.get(key)
        if fault is not None:
            self._faults.after(fault)
        return _info(key, found) if found is not None else None

    def put_new(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Created | Exists:
        """Create the object if the key is absent."""
        check_key(key)
        fault = self._faults.before(self.name, "put_new", key, timeout_s)
        with self._lock:
            created = None if key in self._objects else Created(self._write(key, body))
        if fault is not None:
            self._faults.after(fault)
        return created or Exists()

    def put(self, key: str, body: bytes, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> str:
        """Write the object whether or not it exists."""
        check_key(key)
        fault = self._faults.before(self.name, "put", key, timeout_s)
        with self._lock:
            etag = self._write(key, body)
        if fault is not None:
            self._faults.after(fault)
        return etag

    def list(self, prefix: str = "", after: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> Iterator[ObjectInfo]:
        """Yield the objects in order. Each page of 1,000 is one operation of the plan."""
        while True:
            page, whole = self._page(prefix, after, timeout_s)
            yield from page
            if not whole:
                return
            after = page[-1].key

    def delete(self, key: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Remove the object, if it exists."""
        check_key(key)
        fault = self._faults.before(self.name, "delete", key, timeout_s)
        with self._lock:
            if key in self._objects:
                self._remember(key)
                del self._objects[key]
                del self._keys[bisect_left(self._keys, key)]
        if fault is not None:
            self._faults.after(fault)

    def presign(
        self, key: str, method: Literal["GET", "PUT"], expires_s: int, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> str:
        """Raises: Unsupported, always: memory has no URLs."""
        check_key(key)
        self._faults.before(self.name, "presign", key, timeout_s)
        raise Unsupported(
            "memory has no URLs to sign; read and write through the store",
            provider="memory",
            operation="presign",
            resource=key,
        )

    def digest(self, keep: Callable[[str], bool] | None = None) -> str:
        """Return a digest of all keys and bodies, or of those that `keep` selects, as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for key in self._keys:
            if keep is None or keep(key):
                body = self._objects[key].body
                name = key.encode()
                digest.update(b"%d:%d:" % (len(name), len(body)) + name + body)
        return digest.hexdigest()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Stored objects are immutable: copying the dictionaries is enough, and takes microseconds.
        with self._lock:
            other = copy.copy(self)
            memo[id(self)] = other
            other._objects = self._objects.copy()
            other._keys = self._keys.copy()
            other._past = {key: past.copy() for key, past in self._past.items()}
        other._clock = copy.deepcopy(self._clock, memo)
        other._faults = copy.deepcopy(self._faults, memo)
        return other

    def _page(self, prefix: str, after: str, timeout_s: float) -> tuple[builtins.list[ObjectInfo], bool]:
        fault = self._faults.before(self.name, "list", prefix, timeout_s)
        with self._lock:
            first = bisect_right(self._keys, after) if after >= prefix else bisect_left(self._keys, prefix)
            page = []
            for key in self._keys[first : first + PAGE]:
                if not key.startswith(prefix):
                    break
                page.append(_info(key, self._objects[key]))
        if fault is not None:
            self._faults.after(fault)
        return page, len(page) == PAGE

    def _write(self, key: str, body: bytes) -> str:
        self._remember(key)
        if key not in self._objects:
            insort(self._keys, key)
        self._writes += 1
        etag = f"{self._writes:x}"
        self._objects[key] = _Stored(bytes(body), etag, self._clock.true_now())
        return etag

    def _remember(self, key: str) -> None:
        if key.startswith(HINTS):
            past = self._past.setdefault(key, [])
            past.append(self._objects.get(key))
            del past[:-_PAST]

    def _earlier(self, key: str, fault: Decision, found: _Stored | None) -> _Stored | None:
        past = self._past.get(key)
        return past[int(fault.amount * len(past))] if past else found

    def _not_found(self, operation: str, key: str) -> NotFound:
        return NotFound("no such object", provider="memory", operation=operation, resource=key)


def from_url(url: str) -> MemoryStore:
    """Return a new, empty store. Two `memory:` URLs share nothing."""
    return MemoryStore(name=url.partition(":")[2] or "store")


def _info(key: str, stored: _Stored) -> ObjectInfo:
    return ObjectInfo(key, len(stored.body), stored.etag, stored.modified)


if TYPE_CHECKING:
    from shared.ports import ObjectStore

    _port: type[ObjectStore] = MemoryStore
