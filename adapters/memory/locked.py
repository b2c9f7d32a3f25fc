"""A base class for state behind a lock, which can be copied and pickled."""

import threading
from typing import Any


class Locked:
    """Base class of the memory adapters. `_lock` guards the state; a copy has a lock of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
