"""Sorts a listing by UTF-8 bytes where the store may list by UTF-16 units, as Azure does.

The two orders differ only where one key has a character above U+FFFF and another key has one of U+E000 to U+FFFF in the
same place. So a key with a character above U+FFFF is held back, with the keys after it that have the same stem, until a
key with another stem arrives.
"""

import re
from collections.abc import Iterator, Sequence

from shared.errors import Unsupported
from shared.ports import ObjectInfo

_ABOVE = re.compile("[\U00010000-\U0010ffff]")
_BELOW = re.compile("[\ue000-\uffff]")


class InOrder:
    """Yields the objects of a listing in order: each key once, and only keys greater than `after`.

    `position`: the greatest key so far. A listing that broke off starts again there.
    """

    def __init__(self, after: str) -> None:
        self.position = after
        self._floor = after
        self._held: list[ObjectInfo] = []
        self._stem = ""

    def taken(self, page: Sequence[ObjectInfo]) -> Iterator[ObjectInfo]:
        """Yield the objects whose place in the order is certain after this page."""
        for info in page:
            if self._held and not info.key.startswith(self._stem):
                yield from self.held_back()
            above = _ABOVE.search(info.key)
            if self._held:
                self._held.append(info)
            elif above is not None:
                self._stem = info.key[: above.start()]
                self._held.append(info)
            else:
                yield from self._given([info])

    def held_back(self) -> Iterator[ObjectInfo]:
        """Yield the objects that were held back. Callers call it at the end of the listing."""
        held, self._held = self._held, []
        yield from self._given(sorted(held, key=lambda info: info.key))

    def start(self) -> str:
        """Return the key after which to start the listing again: in either order, no object to come is before it."""
        disputed = _BELOW.search(self.position)
        return self.position[: disputed.start()] if disputed else self.position

    def restart(self) -> None:
        """Drop the objects that were held back: the new listing repeats them, and perhaps some that were yielded."""
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
