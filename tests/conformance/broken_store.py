"""Object stores that each break one clause. The suite must reject them."""

import time
from collections.abc import Iterator
from typing import Any, ClassVar

from shared.errors import InvalidInput, NotFound, TidegateError
from shared.ports import Created, Exists, Object, ObjectInfo
from tests.conformance.broken import Breaks, Proxy
from tests.waiting import let_time_pass

STORE_BREAKS = Breaks()
breaks = STORE_BREAKS.breaks


@breaks("every_valid_key_is_a_separate_object")
class FoldsCase(Proxy):
    def put_new(self, key: str, body: bytes, **given: Any) -> Any:
        return self.inner.put_new(key.lower(), body, **given)

    def get(self, key: str, **given: Any) -> Any:
        return self.inner.get(key.lower(), **given)


@breaks("invalid_keys_are_rejected_before_any_effect")
class NormalizesKeys(Proxy):
    def put(self, key: str, body: bytes, **given: Any) -> Any:
        return self.inner.put(key.strip("/") or key, body, **given)


@breaks("a_key_that_is_a_folder_is_written_or_refused")
class LosesObjectsBesideTheirFolder(Proxy):
    def put_new(self, key: str, body: bytes, **given: Any) -> Any:
        if any(True for _ in self.inner.list(key + "/")):
            return Created("nowhere")
        return self.inner.put_new(key, body, **given)


@breaks("an_expired_timeout_has_no_effect")
class IgnoresTheTimeout(Proxy):
    def head(self, key: str, **given: Any) -> Any:
        return self.inner.head(key)


@breaks("threads_can_share_the_adapter")
class CountsWithoutALock(Proxy):
    scratch = b""

    def put_new(self, key: str, body: bytes, **given: Any) -> Any:
        type(self).scratch = key.encode()
        let_time_pass(0.0002)
        return self.inner.put_new(type(self).scratch.decode(), body, **given)


@breaks("get_returns_one_single_write")
class ReadsEtagApart(Proxy):
    def get(self, key: str, **given: Any) -> Any:
        etag = self.inner.get(key, **given).etag
        let_time_pass(0.0005)
        return Object(self.inner.get(key, **given).body, etag)


@breaks("get_sees_acknowledged_writes")
class CachesReads(Proxy):
    def get(self, key: str, **given: Any) -> Any:
        cache = self.__dict__.setdefault("cache", {})
        if key not in cache:
            cache[key] = self.inner.get(key, **given)
        return cache[key]


@breaks("get_of_an_absent_key_is_not_found")
class ReturnsEmptyForAbsent(Proxy):
    def get(self, key: str, **given: Any) -> Any:
        try:
            return self.inner.get(key, **given)
        except NotFound:
            return Object(b"", "")


@breaks("get_range_returns_part_of_the_body")
class CountsToTheLastByte(Proxy):
    def get_range(self, key: str, start: int, length: int, **given: Any) -> Any:
        return self.inner.get_range(key, start, length + 1, **given)


@breaks("get_range_rejects_negative_arguments")
class CountsFromTheEnd(Proxy):
    def get_range(self, key: str, start: int, length: int, **given: Any) -> Any:
        return self.inner.get(key, **given).body[start : start + length]


@breaks("head_returns_size_and_etag")
class ReturnsFolders(Proxy):
    def head(self, key: str, **given: Any) -> Any:
        found = self.inner.head(key, **given)
        if found is None and any(True for _ in self.inner.list(key + "/")):
            return ObjectInfo(key, 0, "folder", 0.0)
        return found


@breaks("the_etag_changes_with_the_content")
class EtagIsTheSize(Proxy):
    def get(self, key: str, **given: Any) -> Any:
        found = self.inner.get(key, **given)
        return Object(found.body, str(len(found.body)))

    def put(self, key: str, body: bytes, **given: Any) -> Any:
        self.inner.put(key, body, **given)
        return str(len(body))


@breaks("modified_is_the_time_of_writing")
class TimesInMilliseconds(Proxy):
    def head(self, key: str, **given: Any) -> Any:
        found = self.inner.head(key, **given)
        return found and ObjectInfo(key, found.size_bytes, found.etag, found.modified * 1000)


@breaks("put_new_creates_an_absent_object")
class LosesTheLastByte(Proxy):
    def put_new(self, key: str, body: bytes, **given: Any) -> Any:
        return self.inner.put_new(key, body[:-1], **given)


@breaks("one_racing_writer_wins")
class ChecksThenWrites(Proxy):
    def put_new(self, key: str, body: bytes, **given: Any) -> Any:
        if self.inner.head(key) is not None:
            return Exists()
        let_time_pass(0.0002)
        return Created(self.inner.put(key, body, **given))


@breaks("no_reader_sees_a_part")
class WritesInParts(Proxy):
    def put_new(self, key: str, body: bytes, **given: Any) -> Any:
        answer = self.inner.put_new(key, body[:1000], **given)
        if isinstance(answer, Created):
            let_time_pass(0.002)
            return Created(self.inner.put(key, body, **given))
        return answer


@breaks("put_new_on_an_existing_key_changes_nothing")
class RewritesExistingObjects(Proxy):
    def put_new(self, key: str, body: bytes, **given: Any) -> Any:
        answer = self.inner.put_new(key, body, **given)
        if isinstance(answer, Exists):
            self.inner.put(key, self.inner.get(key).body)
        return answer


@breaks("put_overwrites")
class PutOnlyCreates(Proxy):
    def put(self, key: str, body: bytes, **given: Any) -> Any:
        self.inner.put_new(key, body, **given)
        return self.inner.get(key).etag


@breaks("put_overwrites")
class ReturnsTheWrongEtag(Proxy):
    def put(self, key: str, body: bytes, **given: Any) -> Any:
        return self.inner.put(key, body, **given) + "'"


@breaks("no_reader_sees_a_part_of_a_put")
class PutsInParts(Proxy):
    def put(self, key: str, body: bytes, **given: Any) -> Any:
        self.inner.put(key, body[: len(body) // 2], **given)
        let_time_pass(0.001)
        return self.inner.put(key, body, **given)


@breaks("no_reader_sees_a_part_of_a_put")
class ReplacesByDeleting(Proxy):
    def put(self, key: str, body: bytes, **given: Any) -> Any:
        self.inner.delete(key, **given)
        let_time_pass(0.001)
        return self.inner.put(key, body, **given)


@breaks("the_last_of_racing_puts_wins")
class MixesRacingPuts(Proxy):
    halves: ClassVar[dict[str, bytes]] = {}

    def put(self, key: str, body: bytes, **given: Any) -> Any:
        self.halves[key] = body[: len(body) // 2]
        let_time_pass(0.0005)
        return self.inner.put(key, self.halves[key] + body[len(body) // 2 :], **given)


@breaks("the_last_of_racing_puts_wins")
class DropsTheLaterOfRacingPuts(Proxy):
    """It treats a put that arrives while it writes the same key as a repeated request, and drops it."""

    busy: ClassVar[set[str]] = set()

    def put(self, key: str, body: bytes, **given: Any) -> Any:
        if key in self.busy:
            return self.inner.head(key).etag
        self.busy.add(key)
        try:
            let_time_pass(0.0005)
            return self.inner.put(key, body, **given)
        finally:
            self.busy.discard(key)


@breaks("the_last_of_successive_puts_wins")
class KeepsTheFirstPutOfATick(Proxy):
    """It orders puts by a clock with a coarse tick: of two puts in one tick the first wins."""

    def put(self, key: str, body: bytes, **given: Any) -> Any:
        written = self.__dict__.setdefault("written", {})
        moment = time.monotonic() // 0.25
        if written.get(key) == moment:
            return self.inner.head(key).etag
        written[key] = moment
        return self.inner.put(key, body, **given)


@breaks("list_is_complete_and_in_order")
class ListsByFolder(Proxy):
    def list(self, prefix: str = "", after: str = "", **given: Any) -> Iterator[ObjectInfo]:
        found = list(self.inner.list(prefix, after, **given))
        return iter(sorted(found, key=lambda info: info.key.split("/")))


@breaks("list_tolerates_concurrent_changes")
class ListsByPosition(Proxy):
    def list(self, prefix: str = "", after: str = "", **given: Any) -> Iterator[ObjectInfo]:
        position = 0
        while True:
            found = list(self.inner.list(prefix, after, **given))
            if position >= len(found):
                return
            yield found[position]
            position += 1


@breaks("list_fetches_pages_as_needed")
class ListsAllAtOnce(Proxy):
    def list(self, prefix: str = "", after: str = "", **given: Any) -> Iterator[ObjectInfo]:
        return iter(list(self.inner.list(prefix, after, **given)))


@breaks("delete_removes_the_object")
class RaisesForAbsentObjects(Proxy):
    def delete(self, key: str, **given: Any) -> Any:
        if self.inner.head(key) is None:
            raise NotFound("not there", resource=key)
        self.inner.delete(key, **given)


@breaks("after_delete_put_new_creates_again")
class LeavesATombstone(Proxy):
    deleted = b"\0deleted"

    def delete(self, key: str, **given: Any) -> Any:
        self.inner.put(key, self.deleted, **given)


@breaks("presign_returns_a_url_or_is_unsupported")
class SignsUnusableUrls(Proxy):
    def presign(self, key: str, method: str, expires_s: int, **given: Any) -> Any:
        try:
            return self.inner.presign(key, method, expires_s, **given)
        except InvalidInput:
            raise
        except TidegateError:
            return f"memory://{key}"
