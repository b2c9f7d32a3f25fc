"""The watermark poller: hears of new objects where their store cannot tell us, as a bucket cannot tell a house.

A function that is placed on premises is fed this way by a landing store in a cloud: the store is listed, and what was
written since the watermark is told to `validate` as an upload. The watermark is the newest time of writing that was
seen, less a margin for clocks and slow listings; within the margin it is remembered what was told. It may be lost:
then all is told again, and validate knows by the receipts what it has judged. What a poll misses all the same (an
object that its store dates by when a long upload began), reconcile finds, wherever that runs.
"""

import threading
from pathlib import Path

import msgspec

from functions.runtimes.local.files import write_whole
from functions.runtimes.placement import placed_here
from shared import layout
from shared.documents import digest_of_parts, encode
from shared.events import UploadReceived, first_event
from shared.ports import ObjectInfo, ObjectStore, Queue
from shared.settings import Settings

MARGIN_S = 120.0
MAX_REMEMBERED = 100_000


class Watermark(msgspec.Struct, frozen=True):
    """How far a store was looked at: the newest time of writing (epoch s, the store's), and what was told since then.

    Since then, less the margin.
    """

    store: str = ""
    """Digest of the store's URL: the mark of another store says nothing of this one."""
    modified: float = 0.0
    told: tuple[str, ...] = ()


class Poller:
    """Looks at one landing store. Args: url: its address. queue: validate's. place: where the watermark is kept."""

    def __init__(self, landing: ObjectStore, url: str, queue: Queue, place: Path) -> None:
        self._landing = landing
        self._queue = queue
        self._place = place
        self._store = digest_of_parts(url)
        found = _read(place)
        self._mark = found if found.store == self._store else Watermark(self._store)
        self._guard = threading.Lock()

    def poll(self) -> int:
        """Tell of what is new, and return how much that was.

        The watermark moves only once all was told: whoever dies in between tells some of it again.
        Raises: whatever listing or sending raises.
        """
        with self._guard:
            mark, told = self._mark, set(self._mark.told)
            newest, kept, count = mark.modified, [], 0
            for info, usecase in self._listed():
                name = digest_of_parts(info.key, info.etag)
                newest = max(newest, info.modified)
                if info.modified < mark.modified - MARGIN_S:
                    continue
                kept.append((info.modified, name))
                if name not in told:
                    self._tell(info, usecase, name)
                    count += 1
            within = sorted((at, name) for at, name in kept if at >= newest - MARGIN_S)[-MAX_REMEMBERED:]
            after = Watermark(self._store, newest, tuple(name for _, name in within))
            if after != mark:
                write_whole(self._place, msgspec.json.encode(after))
                self._mark = after
            return count

    def _listed(self) -> list[tuple[ObjectInfo, str]]:
        found = []
        for family in (layout.UPLOADS, layout.DROPS):
            for info in self._landing.list(family.prefix()):
                names = family.parse(info.key)
                if names is not None:
                    found.append((info, names["usecase"]))
        return found

    def _tell(self, info: ObjectInfo, usecase: str, name: str) -> None:
        event = first_event(
            UploadReceived(key=info.key, etag=info.etag),
            usecase=usecase,
            source="/storage/landing",
            origin=f"upload {name}",
            at=info.modified,
        )
        self._queue.send(encode(event))


def needed(settings: Settings) -> bool:
    """Return whether the landing store has to be polled for this place: on a disk, reconcile sees what is whole."""
    here = any(function.name == "validate" for function in placed_here(settings))
    return here and not settings.stores.landing.startswith("file:")


def _read(place: Path) -> Watermark:
    try:
        return msgspec.json.decode(place.read_bytes(), type=Watermark)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Watermark()
