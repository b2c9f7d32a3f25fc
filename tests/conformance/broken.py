"""What broken adapters are made of: a sound one inside, and one method that goes wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import TidegateError

REFUSED = (AssertionError, TidegateError, pytest.fail.Exception)
"""How a check fails: by its own statement, or by an error that the clause does not allow."""


class Proxy:
    """An adapter that does all that the one inside it does."""

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
