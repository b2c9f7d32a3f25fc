"""A whole platform in memory, under one clock and one fault plan, for simulations."""

import hashlib
from collections.abc import Mapping

from adapters.memory.clock import START, MemoryClock, SeededIds
from adapters.memory.faults import FaultPlan, Rates
from adapters.memory.jobs import MemoryJobs
from adapters.memory.limits import MemoryLimits
from adapters.memory.metrics import MemoryMetrics
from adapters.memory.queue import MAX_RECEIVES, MemoryQueue
from adapters.memory.secrets import MemorySecrets
from adapters.memory.store import MemoryStore
from shared.ports import FunctionLimits


class MemoryWorld:
    """The three stores, queues by name, jobs, metrics, limits, secrets, clock and ids.

    `copy.deepcopy` and `pickle` make an independent world with the same state.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        rates: Rates | None = None,
        start: float = START,
        deployed: Mapping[str, FunctionLimits] | None = None,
        secrets: Mapping[str, bytes] | None = None,
        max_receives: int = MAX_RECEIVES,
    ) -> None:
        self.clock = MemoryClock(start)
        self.ids = SeededIds(seed)
        self.faults = FaultPlan(self.clock, seed=seed, rates=rates)
        self.landing = MemoryStore(self.clock, self.faults, name="landing")
        self.system = MemoryStore(self.clock, self.faults, name="system")
        self.capture = MemoryStore(self.clock, self.faults, name="capture")
        self.queues: dict[str, MemoryQueue] = {}
        self.jobs = MemoryJobs(self.clock, self.faults)
        self.metrics = MemoryMetrics(self.clock, self.faults)
        self.limits = MemoryLimits(deployed or {}, self.clock, self.faults)
        self.secrets = MemorySecrets(secrets, self.clock, self.faults)
        self.max_receives = max_receives

    def queue(self, name: str) -> MemoryQueue:
        """Return the queue of this name. It is created on first use."""
        found = self.queues.get(name)
        if found is None:
            found = MemoryQueue(name, self.clock, self.faults, max_receives=self.max_receives)
            self.queues[name] = found
        return found

    def digest(self) -> str:
        """Return a digest of all keys and bodies of the three stores, as 64 hexadecimal digits."""
        parts = (self.landing.digest(), self.system.digest(), self.capture.digest())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
