"""A world in a cloud: the story of tests/simulation over the real adapters, each request through a proxy that loses.

The stores and the queues are the provider's, on its emulator; jobs, metrics, limits and secrets are memory's, and so is
the clock that the handlers see. The driver lets nothing wait in real time that it can move on: a message whose handling
failed is released at once, and copies return by the world's clock. Only a message received by a lost response is waited
for, a second at most.
"""

import math

import msgspec

from adapters.memory.faults import Rates
from adapters.memory.store import MemoryStore, _Stored
from shared.errors import NotFound
from shared.monitoring.fsck import Report, fsck
from shared.platform import Platform
from shared.ports import Object, ObjectInfo, ObjectStore
from shared.serving.http import Call, Response
from shared.topology import queue_names
from tests.simulation.material import TRUST_ROOTS
from tests.simulation.world import PAST_ALL_LEASES_S, World
from tests.simulation_clouds.clouds import LEASE_S, STORES, Cloud
from tests.simulation_clouds.network import Chances, Network
from tests.simulation_clouds.ports import CloudPlan, CloudQueue, CloudStore
from tests.waiting import let_time_pass

SMALLEST_BODY = 1024
"""What the queue of predictions takes here, so that some of them go by claim check."""
WAITS = 2
"""How often the story waits a little for a lease that a lost answer has begun, before it goes on without."""
CALL_S = 10.0
"""How long a call may take, as its platform says."""


class CloudWorld(World):
    """A stack with its workers in a cloud. Cannot be copied: its state is not in this process."""

    def __init__(self, cloud: Cloud, *, seed: int, rates: Rates, chances: Chances) -> None:
        super().__init__(seed=seed)
        self.early = True
        self._waits = math.inf
        self.acknowledged: list[str] = []
        """The receipts of uploads that clients received."""
        self.cloud = cloud
        self.direct = cloud.opened(direct=True)
        self.network = Network(seed, chances, cloud.refused)
        self.faults = plan = CloudPlan(self.clock, self.network, seed=seed, rates=rates)
        plan.revived = self._open
        for part in (self.jobs, self.metrics, self.limits, self.secrets):
            part._faults = plan
        self.stores = {name: CloudStore(name, plan) for name in STORES}
        self.landing, self.system, self.capture = self.stores.values()
        self.replica = self.system
        self.queues = {name: CloudQueue(name, plan, self.direct.queues[name].max_body_bytes) for name in queue_names()}
        self.queues["collect"].max_body_bytes = SMALLEST_BODY
        self._open()

    def platform(self, function: str, instance: str = "") -> Platform:
        """Return the platform of one execution, which may take so long and no longer."""
        return msgspec.structs.replace(super().platform(function, instance), time_left_s=lambda: CALL_S)

    def request(self, function: str, call: Call) -> Response:
        """Send a request as a client with retries does; record what was acknowledged."""
        response = super().request(function, call)
        if call.operation == "upload" and response.status == 202:
            self.acknowledged.append(msgspec.json.decode(response.body)["receipt"])
        return response

    def run_pending(self, waits: float = WAITS) -> None:
        """Let everything run that moves by itself, and wait so often for a lease's end: the story goes on after it."""
        self._waits = waits
        while self._work() or self._advance_to_next():
            pass
        self._waits = math.inf

    def reconcile(self) -> None:
        """Let the schedule of reconcile fire, long after whatever was under way."""
        self.clock.advance(PAST_ALL_LEASES_S)
        self.tick("reconcile")
        self.run_pending(math.inf)

    def work_on(self, function: str) -> bool:
        """Handle the messages of a queue that can be seen now; what was not handled to the end is given back."""
        if function not in self.faults.touched or not self._has_visible(function):
            return False
        messages = self.attempt(function, lambda: self.queues[function].receive(10, LEASE_S))
        for message in messages or ():
            if not self.attempt(function, lambda message=message: self._consume(function, message) or True):
                self.direct.queues[function].change_visibility(message.receipt_handle, 0.0)
        return bool(messages)

    def mirrored(self) -> World:
        """Return a world in memory with the cloud's content, for fsck; the cloud is what is checked."""
        self.network.calm()
        seen = {name: Seen(store) for name, store in self.direct.stores.items()}
        report = fsck(seen["landing"], seen["system"], seen["capture"], TRUST_ROOTS)
        mirror = Mirror(report)
        for name, store in seen.items():
            store.fill(getattr(mirror, name))
        for name in self.queues:
            for _ in range(self.cloud.held(name) + len(self.cloud.dead(name))):
                mirror.queues[name].send(b"left over")
        for kept in ("executions", "interruptions", "denied", "failed", "answers", "revisions"):
            setattr(mirror, kept, getattr(self, kept))
        return mirror

    def _open(self) -> None:
        opened = self.cloud.opened(direct=False)
        for name, store in self.stores.items():
            store.port = opened.stores[name]
        for name, queue in self.queues.items():
            queue.port = opened.queues[name]

    def _has_visible(self, function: str) -> bool:
        """Return whether a queue has a visible message; forget the queue if it is empty."""
        if self.cloud.has_visible(function):
            return True
        if not self.cloud.held(function):
            self.faults.touched.discard(function)
        return False

    def _advance_to_next(self) -> bool:
        """Let the next thing come: what the network held back, a second copy, a lease's end. False: there is none."""
        if self.network.deliver():
            self.faults.touched |= set(self.queues)
        if self.faults.touched and self._waits > 0:
            self._waits -= 1
            self.cloud.wait()
            self.clock.advance(LEASE_S)
            return True
        if not self.faults.copies:
            return False
        at, name, body = self.faults.copies.pop(0)
        self.clock.advance(max(0.0, at - self.clock.true_now()))
        self.direct.queues[name].send(body)
        self.faults.arrived["duplicate"] += 1
        self.faults.touched.add(name)
        return True

    def _redrive(self) -> bool:
        found = False
        for name in self.queues:
            for letter in self.cloud.dead(name):
                self.attempt("operator", lambda name=name, letter=letter: self._put_back(name, letter))
                found = True
        return found

    def _put_back(self, name: str, letter: str) -> None:
        try:
            self.queues[name].redrive(letter)
        except NotFound:  # an earlier look has it still, or has put it back and died
            let_time_pass(LEASE_S / 10)


class Mirror(World):
    """What a cloud held when it was checked."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def check(self) -> Report:
        """Return what fsck found in the cloud."""
        return self._report


class Seen:
    """A store that is read, and remembers what was there."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._found: dict[str, Object] = {}
        self._infos: dict[str, ObjectInfo] = {}

    def get(self, key: str) -> Object:
        self._found[key] = self._store.get(key)
        return self._found[key]

    def list(self, prefix: str = "", after: str = "") -> list[ObjectInfo]:
        found = list(self._store.list(prefix, after))
        self._infos |= {info.key: info for info in found}
        return found

    def fill(self, store: MemoryStore) -> None:
        """Put what was there into a store in memory."""
        for info in self.list():
            found = self._found.get(info.key) or self._store.get(info.key)
            store._objects[info.key] = _Stored(found.body, found.etag, info.modified)
        store._keys = sorted(store._objects)
