"""Limits in memory: one record per deployed function."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.memory.clock import MemoryClock
from adapters.memory.faults import FaultPlan
from adapters.memory.locked import Locked
from shared.errors import NotFound
from shared.ports import DEFAULT_TIMEOUT_S, FunctionLimits
from tidegate.arguments import check_limits


class MemoryLimits(Locked):
    """The limits of the deployed functions; they begin as `deployed`."""

    def __init__(
        self,
        deployed: Mapping[str, FunctionLimits],
        clock: MemoryClock | None = None,
        faults: FaultPlan | None = None,
        *,
        name: str = "limits",
    ) -> None:
        super().__init__()
        self.name = name
        self._faults = faults or FaultPlan(clock or MemoryClock())
        self._limits = dict(deployed)

    def read(self, function: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> FunctionLimits:
        """Return the limits in force. Raises: NotFound."""
        fault = self._faults.before(self.name, "read", function, timeout_s)
        found = self._limits.get(function)
        if fault is not None:
            self._faults.after(fault)
        if found is None:
            raise self._not_found("read", function)
        return found

    def set(self, function: str, limits: FunctionLimits, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Change them. Raises: NotFound, InvalidInput."""
        check_limits(limits)
        fault = self._faults.before(self.name, "set", function, timeout_s)
        with self._lock:
            deployed = function in self._limits
            if deployed:
                self._limits[function] = limits
        if fault is not None:
            self._faults.after(fault)
        if not deployed:
            raise self._not_found("set", function)

    def _not_found(self, operation: str, function: str) -> NotFound:
        return NotFound(
            "no such function is deployed; shared/topology.py names those there are",
            provider="memory",
            operation=operation,
            resource=function,
        )


def from_url(url: str, deployed: Mapping[str, FunctionLimits]) -> MemoryLimits:
    """Return new limits: two `memory:` URLs share nothing."""
    return MemoryLimits(deployed)


if TYPE_CHECKING:
    from shared.ports import Limits

    _port: type[Limits] = MemoryLimits
