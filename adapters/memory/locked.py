"""State that threads share behind a lock, and that copies and pickles without it."""

import threading
from typing import Any


class Locked:
    """Base of everything in memory: `_lock` guards the state; a copy gets a lock of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()
