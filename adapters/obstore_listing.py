"""Keys in order of UTF-8 bytes, from a listing that may order by UTF-16 units: Azure's.

The two orders differ only where one key has a character above U+FFFF and another has one of U+E000 to U+FFFF in its
place. So such a key, and those after it that begin alike, are held back until one begins otherwise.
"""

import re
from collections.abc import Iterator, Sequence

from shared.errors import Unsupported
from shared.ports import ObjectInfo

_ABOVE = re.compile("[\U00010000-\U0010ffff]")
_BELOW = re.compile("[\ue000-\uffff]")


class InOrder:
    """Gives what a listing brings, each key once, greater than `after`, in order.

    `position`: the greatest key that was given, and from which a listing that broke off is begun again.
    """

    def __init__(self, after: str) -> None:
        self.position = after
        self._floor = after
        self._held: list[ObjectInfo] = []
        self._stem = ""

    def taken(self, page: Sequence[ObjectInfo]) -> Iterator[ObjectInfo]:
        """Yield what is certain to be next, of what was held back and of this page."""
        for info in page:
            if self._held and not info.key.startswith(self._stem):
                yield from self.rest()
            above = _ABOVE.search(info.key)
            if self._held:
                self._held.append(info)
            elif above is not None:
                self._stem = info.key[: above.start()]
                self._held.append(info)
            else:
                yield from self._given([info])

    def rest(self) -> Iterator[ObjectInfo]:
        """Yield what was held back: the listing is at its end, or past it."""
        held, self._held = self._held, []
        yield from self._given(sorted(held, key=lambda info: info.key))

    def start(self) -> str:
        """Return a string behind which, in either order, all lies that is still to come: where to start a listing."""
        disputed = _BELOW.search(self.position)
        return self.position[: disputed.start()] if disputed else self.position

    def restart(self) -> None:
        """Forget what was held back: it comes again, and perhaps what was given too."""
        self._held = []
        self._floor = self.position

    def _given(self, infos: Sequence[ObjectInfo]) -> Iterator[ObjectInfo]:
        for info in infos:  # strings compare by code points, which is the order of UTF-8 bytes
            if info.key > self.position:
                self.position = info.key
                yield info
            elif self._floor < info.key < self.position:
                raise Unsupported(
                    f"the store lists {info.key!r} after {self.position!r}: use one with a flat namespace, which "
                    "lists by name",
                    operation="list",
                )
