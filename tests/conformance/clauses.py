"""Clauses: sentences of a port's docstring, each with the check that tests an adapter for it.

A check takes a rig, and fails where the adapter breaks its sentence. test_every_clause.py compares the docstrings with
the clauses word by word: every sentence has a check, and every quoted sentence is still in its docstring.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tidegate import ports

TIMEOUT = (
    "Every operation takes `timeout_s`. Past it, the operation raises DeadlineExceeded, or OutcomeUnknown for a write "
    "that may have happened."
)
THREADS = "Adapters are safe to share between threads."


@dataclass(frozen=True)
class Clause:
    """One check, and the sentences that it tests, as (place, quote).

    A place is a name of tidegate.ports: "ObjectStore.get", "Message", or "" for the module's docstring.
    """

    name: str
    sentences: tuple[tuple[str, str], ...]
    check: Callable[[Any], None]


@dataclass
class Suite:
    """The clauses of one port. `permissions`: sentences that cannot be tested, as (place, quote, reason)."""

    port: str
    clauses: dict[str, Clause] = field(default_factory=dict)
    permissions: list[tuple[str, str, str]] = field(default_factory=list)

    def clause(self, where: str, *quotes: str, **more: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Register a check for quotes of a docstring; `more`: quotes of other methods of this port by name."""

        def register(check: Callable[[Any], None]) -> Callable[[Any], None]:
            sentences = [(where, quote) for quote in quotes]
            sentences += [(f"{self.port}.{method}", quote) for method, quote in more.items()]
            before = self.clauses.get(check.__name__)
            tested = (*(before.sentences if before else ()), *sentences)
            self.clauses[check.__name__] = Clause(check.__name__, tested, check)
            return check

        return register

    def permits(self, where: str, quote: str, because: str) -> None:
        """Register a sentence that no check can test: it allows something, or needs a fault that no rig can cause."""
        self.permissions.append((where, quote, because))


def docstring(where: str) -> str:
    """Return a docstring of tidegate.ports on one line."""
    found: Any = ports
    for name in where.split(".") if where else ():
        found = getattr(found, name)
    return _on_one_line(inspect.getdoc(found) or "")


def public_names(port: str) -> list[str]:
    """Return a port and its methods, as `docstring` takes them."""
    methods = [name for name, member in vars(getattr(ports, port)).items() if inspect.isfunction(member)]
    return [port, *(f"{port}.{name}" for name in methods if not name.startswith("_"))]


def unknown_quotes(suites: list[Suite]) -> list[str]:
    """Return the quotes that are in no docstring."""
    return [f"{where}: {quote}" for where, quote in _quoted(suites) if _on_one_line(quote) not in docstring(where)]


def untested_sentences(suites: list[Suite], places: list[str]) -> list[str]:
    """Return the text of these places' docstrings that no clause quotes."""
    found = []
    for where in places:
        text = docstring(where)
        quoted = [False] * len(text)
        for quote in (_on_one_line(quote) for place, quote in _quoted(suites) if place == where):
            start = text.find(quote)
            quoted[start : start + len(quote)] = [True] * len(quote)
        untested = "".join(" " if is_quoted else letter for letter, is_quoted in zip(text, quoted, strict=True))
        if re.search(r"\w", untested):
            found.append(f"{where or 'module'}: {_on_one_line(untested)}")
    return found


def _quoted(suites: list[Suite]) -> list[tuple[str, str]]:
    tested = [sentence for suite in suites for clause in suite.clauses.values() for sentence in clause.sentences]
    return tested + [(where, quote) for suite in suites for where, quote, _ in suite.permissions]


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
