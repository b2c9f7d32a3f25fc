"""One world per seed, with random faults, and the conditions that must hold once nothing is left to do."""

from collections import Counter

import msgspec

from adapters.memory.faults import Decision, Fault, FaultPlan, Rates
from functions.reconcile import LONGEST_REPEAT_S
from functions.train import MAX_ATTEMPTS
from shared import layout
from shared.documents import decode, hex_of
from shared.events import Event
from shared.pipeline.records import TrainingResult
from shared.serving.capture_files import read_all
from tests.simulation.material import USECASE
from tests.simulation.scenario import STEPS, Step, begin, monitor, predict
from tests.simulation.world import SETTINGS, World

RATES = Rates(
    crash_before=0.006,
    crash_after=0.006,
    lost_done=0.012,
    lost_undone=0.012,
    throttled=0.008,
    unavailable=0.008,
    delay=0.01,
    skew=0.005,
    duplicate=0.1,
    reorder=0.2,
    stale=0.2,
)
LAGS = 0.3
"""Probability that a read of the releases by infer misses the newest one."""
ROUNDS = 60
"""Rounds of work after each step, before the next one."""
TOGETHER = (
    "upload of January",
    "upload of February, first training",
    "upload of a damaged file",
    "a file dropped by hand",
)
"""Steps that come before anything has run. Any order of them is valid."""
CHANGES = ("monitoring, alert, second training", "a person changes the champion", "a person rolls back")
"""Steps after which another release serves."""
COUNTED = frozenset(Fault.__args__) - {"reorder", "stale"}  # type: ignore[attr-defined]
"""The faults that count. A reordered queue of one message, or a stale hint that was current, changes nothing."""


class Finding(msgspec.Struct, frozen=True):
    """The result of a run: the number of faults, their record, and every violated condition."""

    faults: int
    record: bytes
    wrong: tuple[str, ...]


def run(seed: int, rates: Rates | None = RATES, script: tuple[Decision, ...] = ()) -> Finding:
    """Run the scenario with the random faults of a seed, or with the faults of a script."""
    world = begin(seed=seed)
    world.early = True
    world.faults = plan = FaultPlan(world.clock, seed=seed, rates=rates, script=script)
    for part in (world.landing, world.system, world.capture, world.jobs, world.metrics, world.secrets, world.limits):
        part._faults = plan
    for queue in world.queues.values():
        queue._faults = plan
    wrong: list[str] = []
    try:
        for number, (name, step) in enumerate(STEPS.items()):
            _run_step(world, name, step)
            if name in CHANGES:
                _predict_again(world, 100 * (number + 1))
        plan.calm()
        world.clock.skew_s = 0.0
        world.clock.advance(LONGEST_REPEAT_S)  # what was missed very often is sent again after this pause at most
        world.settle()
        monitor(world)
        world.settle()
        wrong = problems_of(world)
    except AssertionError as error:
        wrong = [f"{type(error).__name__}: {error}"]
    faults = sum(decision.fault in COUNTED for decision in plan.decisions)
    return Finding(faults, plan.record(), tuple(wrong))


def problems_of(world: World) -> list[str]:
    """Return every condition that must hold once the world has settled, and does not."""
    wrong = [f"fsck {finding.invariant} {finding.key}: {finding.message}" for finding in world.check().findings]
    wrong += world.denied + world.failed
    letters = [name for name, queue in world.queues.items() if queue._dead or queue._messages]
    wrong += [f"queue {name} is not empty" for name in letters]
    models = [key for key in world.system._keys if key.startswith(f"models/{USECASE}/")]
    abandoned = _abandoned(world)
    if not models and not abandoned:
        wrong.append("no model came of two months of data")
    trained = {hex_of(key) for key in world.executions} - set(abandoned)
    if len(models) != len(trained):
        wrong.append(f"{len(trained)} keys were trained, and {len(models)} models have a number")
    for key, count in world.executions.items():
        if count > 1 + world.interruptions[key]:
            wrong.append(f"training {key[:19]} ran {count} times, and was interrupted {world.interruptions[key]} times")
    return wrong + _lost_answers(world) + older_revisions(world) + _repeated_events(world)


def _repeated_events(world: World) -> list[str]:
    """Return the events that are on record more than once. A function that runs again returns the same events."""
    seen: Counter[tuple[str, str, str, bytes]] = Counter()
    for key, stored in world.system._objects.items():
        if key.startswith("events/"):
            event = decode(stored.body, Event)
            seen[event.cause, event.source, event.type, bytes(event.data)] += 1
    return [f"{what[2]} of {what[1]} is on record {count} times" for what, count in seen.items() if count > 1]


def _predict_again(world: World, number: int) -> None:
    """Send predictions a few seconds apart, so that a process reads the releases several times.

    The requests have no id. One that is repeated after a crash may be another prediction, by an older release.
    """
    world.replica.lags = LAGS
    for turn in range(4):
        world.clock.advance(SETTINGS.release_ttl_s + 1.0)
        predict(number + turn, 0, 2, named=False)(world)
    world.replica.lags = 0.0


def _abandoned(world: World) -> list[str]:
    """Return the trainings that were abandoned after MAX_ATTEMPTS. No other training may fail.

    With so many faults some are. The claims on record must show the attempts.
    """
    found = []
    for key, stored in world.system._objects.items():
        names = layout.RESULTS.parse(key)
        if names is not None and decode(stored.body, TrainingResult).state == "failed":
            last = layout.CLAIMS.key(**names, attempt=layout.attempt_name(MAX_ATTEMPTS + 1))
            assert last in world.system._objects, f"training {names['key']} failed, and was not abandoned"
            found.append(names["key"])
    return found


def _run_step(world: World, name: str, step: Step) -> None:
    step(world)
    if name not in TOGETHER[:-1]:
        world.settle(ROUNDS, must=False)


def _lost_answers(world: World) -> list[str]:
    """Invariant 6: each answered prediction is in the log, with the model that the answer names."""
    bodies = [stored.body for key, stored in world.capture._objects.items() if key.startswith("predictions/")]
    kept = {prediction.id: prediction for prediction in read_all(bodies)}
    wrong = []
    for _, body in world.answers:
        answer = msgspec.json.decode(body)
        ids = next(output["data"] for output in answer["outputs"] if output["name"] == "prediction_id")
        for id_ in ids:
            if id_ not in kept or str(kept[id_].model) != answer["model_version"]:
                wrong.append(
                    f"prediction {id_} was answered by model {answer['model_version']} and is not in the log so"
                )
    return wrong


def older_revisions(world: World) -> list[str]:
    """Return where a process served under an older revision than before."""
    latest: dict[int, int] = {}
    wrong = []
    for instance, revision in world.revisions:
        if revision < latest.get(instance, 0):
            wrong.append(f"process {instance} served under revision {revision} after {latest[instance]}")
        latest[instance] = max(revision, latest.get(instance, 0))
    return wrong
