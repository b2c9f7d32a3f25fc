"""A stack in one process: the real handlers over the memory adapter, with a clock and faults under control.

Dispatch, grants, handlers and registry are those of production. Training and the check in a limited subprocess are
pure and slow, so their results are cached by their input. Copying a world copies all state.
"""

import copy
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import msgspec

import functions.train
from adapters.memory.faults import Crash, Rates
from adapters.memory.store import MemoryStore
from adapters.memory.world import MemoryWorld
from functions.runtimes import dispatch
from shared.documents import decode, digest_of, encode
from shared.errors import NotFound, PermissionDenied, TidegateError, TransientError
from shared.events import NO_USECASE, Event, ScheduleFired, first_event
from shared.monitoring.fsck import Report, fsck
from shared.platform import Platform, ProcessCache
from shared.ports import JobSpec, Message, Object, ObjectInfo, ObjectStore
from shared.registry.signatures import public_text
from shared.serving.http import Call, Request, Response
from shared.serving.problems import problem
from shared.settings import Settings, Stores
from shared.topology import queue_names
from tests.simulation.material import PRIVATE_KEY, TRUST_ROOTS, cached_check, cached_train

VISIBILITY_S = 30.0
PAST_ALL_LEASES_S = 1000.0
MAX_ROUNDS = 400
SETTINGS = Settings(
    stack="simulated",
    stores=Stores(landing="memory:landing", system="memory:system", capture="memory:capture"),
    queues="memory:",
    issuer="https://issuer.example",
    audience="tidegate",
    trust_roots={key: public_text(public) for key, public in TRUST_ROOTS.items()},
    token_keys={},
    train_code_digest="sha256:" + "0" * 64,
    train_libraries_digest="sha256:" + "1" * 64,
    settle_s=5.0,
    max_inline_bytes=10_000,  # so that March, the largest file, is validated by a job
)
SMALLEST_BODY = 1024
"""Limit of the queue of predictions here: larger batches go by claim check."""
UNTIMED = ("hints/", "intents/", "effects/", "events/")
"""Keys that may differ between two runs with the same outcome: leases, hints, and events that only reconcile adds."""


class Lagging:
    """A replica of a store, such as a cache, which the newest release may not have reached."""

    def __init__(self, store: MemoryStore, seed: int) -> None:
        self._store = store
        self._chance = random.Random(seed)
        self.lags = 0.0
        """Probability that a read does not see the newest release."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._store, name)

    def get(self, key: str, **given: Any) -> Object:
        """Return the object, unless it has not reached the replica."""
        if self._late(key):
            raise NotFound("not here yet", resource=key)
        return self._store.get(key, **given)

    def head(self, key: str, **given: Any) -> ObjectInfo | None:
        """Return the object's information, unless it has not reached the replica."""
        return None if self._late(key) else self._store.head(key, **given)

    def _late(self, key: str) -> bool:
        if not self.lags or not key.startswith(("releases/", "hints/releases/")):
            return False
        newest = max((each for each in self._store._objects if each.startswith("releases/")), default="")
        return (key == newest or key.startswith("hints/")) and self._chance.random() < self.lags


class World(MemoryWorld):
    """A stack with its workers.

    `early`: requests may come too early and be answered with 404 or 409. `functions` names the function of each
    operation since the plan of faults began. `executions` counts trainings by key.
    """

    def __init__(self, *, seed: int = 0, rates: Rates | None = None) -> None:
        super().__init__(seed=seed, rates=rates, secrets={"signing-key": PRIVATE_KEY})
        for name in queue_names():
            self.queue(name)
        self.queue("collect").max_body_bytes = SMALLEST_BODY
        self.functions: list[str] = []
        self.caches: dict[str, ProcessCache] = {}
        self.instance = 0
        self.ticks = 0
        self.early = False
        self.crashes = 0
        self.executions: Counter[str] = Counter()
        self.interruptions: Counter[str] = Counter()
        self.revisions: list[tuple[int, int]] = []
        self.denied: list[str] = []
        self.failed: list[str] = []
        self.answers: list[tuple[int, bytes]] = []
        self.replica = Lagging(self.system, seed)
        """The store that infer reads. Its releases may be stale."""

    def platform(self, function: str, instance: str = "") -> Platform:
        """Return the platform of one execution; its cache lives until the next crash."""
        return Platform(
            landing=self.landing,
            system=cast(ObjectStore, self.replica) if function == "infer" else self.system,
            capture=self.capture,
            queues=self.queues,
            jobs=self.jobs,
            metrics=self.metrics,
            limits=self.limits,
            secrets=self.secrets,
            clock=self.clock,
            ids=self.ids,
            settings=SETTINGS,
            check_model=cached_check,
            instance=instance or f"{function}-{self.instance}",
            cache=self.caches.setdefault(function, ProcessCache(SETTINGS.release_ttl_s)),
        )

    def attempt(self, function: str, effect: Callable[[], Any]) -> Any:
        """Run an effect as a function would. A crash restarts all processes, and an error returns the message."""
        try:
            return effect()
        except Crash:
            self.crashes += 1
            self.instance += 1
            self.caches = {}
            self.faults.revive()
        except PermissionDenied as error:
            self.denied.append(str(error))
        except TransientError:
            pass
        except TidegateError as error:
            self.failed.append(f"{function}: {type(error).__name__}: {error}")
        finally:
            # Of nested calls (a second copy of a job) the outer one fills in what is left.
            self.functions += [function] * (self.faults.operations - len(self.functions))
        return None

    def request(self, function: str, call: Call) -> Response:
        """Send a request, and repeat it until there is an answer."""

        def answer() -> Response:
            try:
                return dispatch.respond(function, call, self.platform(function))
            except TidegateError as error:
                if error.transient or isinstance(error, PermissionDenied):
                    raise
                return problem(error, call.request.path)

        for attempt in range(MAX_ROUNDS):
            # A repetition is a request of its own to the platform: only what the client says makes it the same.
            request = msgspec.structs.replace(call.request, id=f"{call.request.id}-{attempt}")
            call = msgspec.structs.replace(call, request=request)
            response = self.attempt(function, answer)
            if isinstance(response, Response):
                if call.operation == "infer" and response.status == 200:
                    self.answers.append((self.instance, response.body))
                    model = self.caches["infer"].models.current(
                        call.names["usecase"], _unread, _unread, self.clock.monotonic()
                    )
                    self.revisions.append((self.instance, model.revision))
                return response
            self.clock.advance(1.0)
        raise AssertionError(f"{call.operation} got no answer; denied: {self.denied}, failed: {self.failed[-3:]}")

    def expect(self, response: Response, status: int) -> None:
        """Fail unless the answer has this status, or the request came too early where `early` allows that."""
        if response.status != status and not (self.early and response.status in (404, 409)):
            raise AssertionError(f"expected {status}, got {response.status}: {response.body!r}")

    def tick(self, function: str) -> None:
        """Let a schedule fire for a function, as the runtime does: into its queue."""
        self.ticks += 1
        event = first_event(
            ScheduleFired(function=function),
            usecase=NO_USECASE,
            source="/schedule",
            origin=f"tick {self.ticks}",
            at=self.clock.true_now(),
        )
        while self.attempt("schedule", lambda: self.queues[function].send(encode(event)) or True) is None:
            self.clock.advance(1.0)

    def settle(self, rounds: int = MAX_ROUNDS, *, must: bool = True) -> None:
        """Run messages, jobs, redriven dead letters and reconciles until nothing is left to do.

        Unless `must`, return after so many rounds, whatever is still in flight.
        """
        quiet_reconciles = 0
        for _ in range(rounds):
            worked = self._work()
            if worked:
                quiet_reconciles = quiet_reconciles if worked == {"reconcile"} else 0
                continue
            if self._advance_to_next() or self._redrive():
                continue
            if quiet_reconciles == 2:
                return
            quiet_reconciles += 1
            self.clock.advance(PAST_ALL_LEASES_S)
            self.tick("reconcile")
            self.work_on("reconcile")
        if must:
            raise AssertionError(f"the world does not settle: {self.denied[:3]}")

    def check(self) -> Report:
        """Return the report of fsck, which runs without faults."""
        faults = self.faults
        quiet = copy.deepcopy(faults)
        quiet.revive()
        quiet.calm()
        for store in (self.landing, self.system, self.capture):
            store._faults = quiet
        try:
            return fsck(self.landing, self.system, self.capture, TRUST_ROOTS)
        finally:
            for store in (self.landing, self.system, self.capture):
                store._faults = faults

    def outcome(self) -> str:
        """Return a digest of all state that a repetition must not change."""
        kept = self.system.digest(lambda key: not key.startswith(UNTIMED) and "/claim-" not in key)
        return digest_of((kept + self.landing.digest() + self.capture.digest()).encode())

    def events(self) -> set[str]:
        """Return the keys of the events on record, without those that reconcile adds."""
        found = set()
        for key, stored in self.system._objects.items():
            if key.startswith("events/") and decode(stored.body, Event).source != "/functions/reconcile":
                found.add(key)
        return found

    def _work(self) -> set[str]:
        """Handle what is visible now. Return the functions that had messages, or "job"."""
        worked = {name for name in self.queues if self.work_on(name)}
        return worked or ({"job"} if self.run_job() else set())

    def work_on(self, function: str) -> bool:
        """Handle the visible messages of a function's queue. Return whether there was one."""
        queue = self.queues[function]
        messages = self.attempt(function, lambda: queue.receive(10, VISIBILITY_S))
        for message in messages or ():
            self.attempt(function, lambda message=message: self._consume(function, message))
        return bool(messages)

    def _consume(self, function: str, message: Message) -> None:
        platform = self.platform(function)
        dispatch.deliver(function, dispatch.event_of_message(function, message.body, platform), platform)
        self.queues[function].ack(message.receipt_handle)

    def run_job(self) -> bool:
        """Run the first pending job. Return whether there was one."""
        pending = self.jobs.pending()
        if not pending:
            return False
        function = "train" if pending[0].startswith("train") else "validate"
        self.attempt(function, lambda: self.jobs.run(pending[0], lambda spec, _: self._job(pending[0], spec)))
        return True

    def _job(self, job_id: str, spec: JobSpec) -> int:
        platform = msgspec.structs.replace(self.platform(spec.function, instance=job_id), in_job=True)

        trained_key = ""

        def trained(*arguments: Any) -> Any:
            """Train. A second copy of the job, if one is pending, runs meanwhile."""
            nonlocal trained_key
            trained_key = key = digest_of(encode(arguments[2]))
            self.executions[key] += 1
            for other in self.jobs.pending():
                self.jobs.run(other, lambda spec, _, other=other: self._job(f"{other}-copy", spec))
            return cached_train(*arguments)

        before = functions.train.train
        functions.train.train = trained  # type: ignore[assignment]
        try:
            dispatch.deliver(spec.function, decode(spec.event, Event), platform)
        except Crash:
            self.interruptions[trained_key] += 1
            raise
        except TidegateError as error:
            self.interruptions[trained_key] += 1
            if isinstance(error, PermissionDenied):
                self.denied.append(str(error))
            elif not error.transient:
                self.failed.append(f"{spec.function}: {type(error).__name__}: {error}")
            return error.exit_code
        finally:
            functions.train.train = before
        return 0

    def _advance_to_next(self) -> bool:
        times = [at for queue in self.queues.values() if (at := queue.next_visible_at()) is not None]
        later = [at for at in times if at > self.clock.true_now()]
        if times:
            self.clock.advance(max(0.0, min(later, default=0.0) - self.clock.true_now()) + 0.001)
        return bool(times)

    def _redrive(self) -> bool:
        found = False
        for queue in self.queues.values():
            for letter in list(queue._dead):
                self.attempt("operator", lambda queue=queue, letter=letter: queue.redrive(letter))
                found = True
        return found


def _unread(*_: Any) -> Any:
    raise AssertionError("the cache reads, where it should only return what it served")


def call(operation: str, names: dict[str, str], body: bytes | dict[str, Any], number: int) -> Call:
    """Return a request as routing gives it. `number` is its idempotency key, so a repetition is the same request."""
    return Call(
        request=Request(
            method="POST",
            path="/",
            body=body if isinstance(body, bytes) else msgspec.json.encode(body),
            headers={"idempotency-key": f"key-{number}"},
            received_at=1_364_800_000.0 + number,
            id=f"request-{number}",
        ),
        operation=operation,
        names=names,
        subject="tester",
    )
