"""Secrets in memory: those of the constructor and of `put`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters.memory.clock import MemoryClock
from adapters.memory.faults import FaultPlan
from adapters.memory.locked import Locked
from shared.errors import NotFound
from shared.ports import DEFAULT_TIMEOUT_S
from tidegate.arguments import check_secret_name


class MemorySecrets(Locked):
    """Named secrets. `put` is for the set-up of a test, and not part of the port."""

    def __init__(
        self,
        values: Mapping[str, bytes] | None = None,
        clock: MemoryClock | None = None,
        faults: FaultPlan | None = None,
        *,
        name: str = "secrets",
    ) -> None:
        super().__init__()
        self.name = name
        self._faults = faults or FaultPlan(clock or MemoryClock())
        self._values = dict(values or {})

    def get(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return the secret's newest value. Raises: NotFound, InvalidInput."""
        check_secret_name(name)
        fault = self._faults.before(self.name, "get", name, timeout_s)
        found = self._values.get(name)
        if fault is not None:
            self._faults.after(fault)
        if found is None:
            raise NotFound(
                f"there is no secret {name!r}; make it with MemorySecrets.put",
                provider="memory",
                operation="get",
                resource=name,
            )
        return found

    def put(self, name: str, value: bytes) -> None:
        """Set a secret's newest value. Raises: InvalidInput: bad name."""
        check_secret_name(name)
        with self._lock:
            self._values[name] = bytes(value)


def from_url(url: str) -> MemorySecrets:
    """Return new, empty secrets. Two `memory:` URLs share nothing."""
    return MemorySecrets()


if TYPE_CHECKING:
    from shared.ports import Secrets

    _port: type[Secrets] = MemorySecrets
