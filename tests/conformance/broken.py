"""The parts of broken adapters: a sound adapter inside, and one method that is wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import TidegateError

REJECTIONS = (AssertionError, TidegateError, pytest.fail.Exception)
"""The exceptions by which a check fails: its own assertion, or an error that the clause does not allow."""


class Proxy:
    """An adapter that passes every call on to the one inside it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Breaks(dict[str, list[type[Proxy]]]):
    """Broken adapters by the name of the clause that each breaks."""

    def breaks(self, clause: str) -> Callable[[type[Proxy]], type[Proxy]]:
        """Register a broken adapter."""

        def register(kind: type[Proxy]) -> type[Proxy]:
            self.setdefault(clause, []).append(kind)
            return kind

        return register
