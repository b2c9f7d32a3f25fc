"""The watermark poller: finds new objects of a landing store that cannot send its events to this place.

A stack that runs `validate` on premises may have its landing store in a cloud. The poller lists the store and sends an
UploadReceived for each object written since the watermark. The watermark is the newest modification time that was seen.
Objects within a margin before it (for clocks and slow listings) are remembered by name, so that they are sent once. If
the watermark's file is lost, all objects are sent again, which does no harm: they have receipts. An object that a poll
misses, because its store dates it by the start of a long upload, is found by reconcile.
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
    """How far a store was polled."""

    store: str = ""
    """Digest of the store's URL. The watermark of another store is not used."""
    modified: float = 0.0
    """The newest modification time that was seen, epoch s by the store's clock."""
    sent: tuple[str, ...] = ()
    """Ids of the uploads that were sent, of objects within the margin before `modified`."""


class Poller:
    """Polls one landing store. Safe to share between threads: one polls at a time, and only `poll` changes the mark.

    Args: url: of the store. queue: validate's. place: the watermark's file.
    """

    def __init__(self, landing: ObjectStore, url: str, queue: Queue, place: Path) -> None:
        self._landing = landing
        self._queue = queue
        self._place = place
        self._store = digest_of_parts(url)
        found = _read(place)
        self._mark = found if found.store == self._store else Watermark(self._store)
        self._guard = threading.Lock()

    def poll(self) -> int:
        """Send an UploadReceived for each new object, and return their number.

        The watermark is written after all were sent. After a crash in between, some are sent again.
        Raises: what listing or sending raises.
        """
        with self._guard:
            mark, sent = self._mark, set(self._mark.sent)
            newest, kept, count = mark.modified, [], 0
            for info, usecase in self._listed():
                name = digest_of_parts(info.key, info.etag)
                newest = max(newest, info.modified)
                if info.modified < mark.modified - MARGIN_S:
                    continue
                kept.append((info.modified, name))
                if name not in sent:
                    self._send(info, usecase, name)
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

    def _send(self, info: ObjectInfo, usecase: str, name: str) -> None:
        event = first_event(
            UploadReceived(key=info.key, etag=info.etag),
            usecase=usecase,
            source="/storage/landing",
            origin=f"upload {name}",
            at=info.modified,
        )
        self._queue.send(encode(event))


def needed(settings: Settings) -> bool:
    """Return whether to poll: `validate` runs here and the landing store is not on a disk, which reconcile lists."""
    here = any(function.name == "validate" for function in placed_here(settings))
    return here and not settings.stores.landing.startswith("file:")


def _read(place: Path) -> Watermark:
    try:
        return msgspec.json.decode(place.read_bytes(), type=Watermark)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Watermark()
