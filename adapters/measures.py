"""The base class of the Metrics adapters: the three kinds of measurement, recorded by one method."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]


class Measures(ABC):
    """The recording methods of shared.ports.Metrics. A subclass implements `_record`."""

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
        """Record one point. Raises: InvalidInput: an invalid value; nothing else."""
