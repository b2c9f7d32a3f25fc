"""What the adapters of metrics share: three kinds of measure, each recorded in one place."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]


class Measures(ABC):
    """The writing half of shared.ports.Metrics; an adapter gives `_record`."""

    def counter(self, name: str, value: float = 1.0, labels: Mapping[str, str] | None = None) -> None:
        """Add to a count."""
        self._record("counter", name, value, labels)

    def gauge(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Record a level."""
        self._record("gauge", name, value, labels)

    def histogram(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Record one observation."""
        self._record("histogram", name, value, labels)

    @abstractmethod
    def _record(self, kind: Kind, name: str, value: float, labels: Mapping[str, str] | None) -> None:
        """Record one point. Never raises but for a name or a value that is none (InvalidInput)."""
