"""Clauses: sentences of a port's docstring, each with the check that holds an adapter to it.

A check takes a rig and fails where the adapter breaks its sentence. The docstrings and the clauses are compared word
by word, so that no sentence is left without a check, and none is checked that the port no longer says.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared import ports

TIMEOUT = (
    "Every operation takes `timeout_s`: past it, DeadlineExceeded (for a write that may have happened, OutcomeUnknown)."
)
THREADS = "Adapters are safe to share between threads."


@dataclass(frozen=True)
class Clause:
    """One check, and the (place, quote) pairs that it holds: "ObjectStore.get", "Message", "" for the module."""

    name: str
    sentences: tuple[tuple[str, str], ...]
    check: Callable[[Any], None]


@dataclass
class Suite:
    """The clauses of one port, and the sentences that promise nothing a caller could be failed in, with the reason."""

    port: str
    clauses: dict[str, Clause] = field(default_factory=dict)
    permissions: list[tuple[str, str, str]] = field(default_factory=list)

    def clause(self, where: str, *quotes: str, **more: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Register a check for quotes of a docstring; `more`: quotes of other methods of this port by name."""

        def register(check: Callable[[Any], None]) -> Callable[[Any], None]:
            sentences = [(where, quote) for quote in quotes]
            sentences += [(f"{self.port}.{method}", quote) for method, quote in more.items()]
            before = self.clauses.get(check.__name__)
            held = (*(before.sentences if before else ()), *sentences)
            self.clauses[check.__name__] = Clause(check.__name__, held, check)
            return check

        return register

    def permits(self, where: str, quote: str, because: str) -> None:
        """Note a sentence that no check can hold an adapter to."""
        self.permissions.append((where, quote, because))


def docstring(where: str) -> str:
    """Return a docstring of shared.ports on one line."""
    found: Any = ports
    for name in where.split(".") if where else ():
        found = getattr(found, name)
    return _on_one_line(inspect.getdoc(found) or "")


def public_names(port: str) -> list[str]:
    """Return a port and its methods, as `docstring` takes them."""
    methods = [name for name, member in vars(getattr(ports, port)).items() if inspect.isfunction(member)]
    return [port, *(f"{port}.{name}" for name in methods if not name.startswith("_"))]


def unknown_quotes(suites: list[Suite]) -> list[str]:
    """Return the quotes that stand in no docstring."""
    return [f"{where}: {quote}" for where, quote in _quoted(suites) if _on_one_line(quote) not in docstring(where)]


def unheld_sentences(suites: list[Suite], places: list[str]) -> list[str]:
    """Return what the docstrings of these places say beyond all quotes."""
    rests = []
    for where in places:
        text = docstring(where)
        held = [False] * len(text)
        for quote in (_on_one_line(quote) for place, quote in _quoted(suites) if place == where):
            start = text.find(quote)
            held[start : start + len(quote)] = [True] * len(quote)
        rest = "".join(" " if is_held else letter for letter, is_held in zip(text, held, strict=True))
        if re.search(r"\w", rest):
            rests.append(f"{where or 'module'}: {_on_one_line(rest)}")
    return rests


def _quoted(suites: list[Suite]) -> list[tuple[str, str]]:
    held = [sentence for suite in suites for clause in suite.clauses.values() for sentence in clause.sentences]
    return held + [(where, quote) for suite in suites for where, quote, _ in suite.permissions]


def _on_one_line(text: str) -> str:
    return " ".join(text.split())
