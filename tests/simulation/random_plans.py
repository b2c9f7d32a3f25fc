"""One seed, one world in which everything goes wrong by chance, and what must be true of it once it is at rest."""

from collections import Counter

import msgspec

from adapters.memory.faults import Decision, Fault, FaultPlan, Rates
from functions.train import MAX_ATTEMPTS
from shared import layout
from shared.documents import decode, hex_of
from shared.events import Event
from shared.pipeline.records import TrainingResult
from shared.serving.capture_files import read_all
from tests.simulation.material import USECASE
from tests.simulation.scenario import STEPS, Step, begin, predict, watch
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
"""How often infer's look at the releases misses the newest."""
ROUNDS = 60
"""How long the world may work after each stimulus before the next one comes."""
TOGETHER = (
    "upload of January",
    "upload of February, first training",
    "upload of a damaged file",
    "a file dropped by hand",
)
"""Stimuli that arrive before anything has run: their order is free."""


CHANGES = ("monitoring, alert, second training", "a person changes the champion", "a person rolls back")
"""After these, who serves has changed."""
COUNTED = frozenset(Fault.__args__) - {"reorder", "stale"}  # type: ignore[attr-defined]
"""What is counted as a fault: another order of one message, or an old hint that was new, is none."""


class Finding(msgspec.Struct, frozen=True):
    """What a run came to: the faults that happened, and all that was wrong at the end."""

    faults: int
    record: bytes
    wrong: tuple[str, ...]


def run(seed: int, rates: Rates | None = RATES, script: tuple[Decision, ...] = ()) -> Finding:
    """Tell the story under a seed's misfortune (or a script of it), and return what is wrong afterwards."""
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
            _tell(world, name, step)
            if name in CHANGES:
                _ask_again(world, 100 * (number + 1))
        plan.calm()
        world.clock.skew_s = 0.0
        world.rest()
        watch(world)
        world.rest()
        wrong = judge(world)
    except AssertionError as error:
        wrong = [f"{type(error).__name__}: {error}"]
    faults = sum(decision.fault in COUNTED for decision in plan.decisions)
    return Finding(faults, plan.record(), tuple(wrong))


def judge(world: World) -> list[str]:
    """Return all that must hold at rest and does not."""
    wrong = [f"fsck {finding.invariant} {finding.key}: {finding.message}" for finding in world.check().findings]
    wrong += world.denied + world.failed
    letters = [name for name, queue in world.queues.items() if queue._dead or queue._held]
    wrong += [f"queue {name} is not empty" for name in letters]
    models = [key for key in world.system._keys if key.startswith(f"models/{USECASE}/")]
    given_up = _given_up(world)
    if not models and not given_up:
        wrong.append("no model came of two months of data")
    trained = {hex_of(key) for key in world.executions} - set(given_up)
    if len(models) != len(trained):
        wrong.append(f"{len(trained)} keys were trained, and {len(models)} models have a number")
    for key, count in world.executions.items():
        if count > 1 + world.interruptions[key]:
            wrong.append(f"training {key[:19]} ran {count} times, and was interrupted {world.interruptions[key]} times")
    return wrong + _unkept(world) + _went_back(world) + _twice(world)


def _twice(world: World) -> list[str]:
    """An event follows once from its cause: what a function returns again is the same event."""
    seen: Counter[tuple[str, str, str, bytes]] = Counter()
    for key, stored in world.system._objects.items():
        if key.startswith("events/"):
            event = decode(stored.body, Event)
            seen[event.cause, event.source, event.type, bytes(event.data)] += 1
    return [f"{what[2]} of {what[1]} is on record {count} times" for what, count in seen.items() if count > 1]


def _ask_again(world: World, number: int) -> None:
    """Clients go on asking, a few seconds apart, so that a process reads the releases again and again.

    Their requests have no id: one repeated after a crash, to a process that reads an older release, is another
    prediction.
    """
    world.replica.lags = LAGS
    for turn in range(4):
        world.clock.advance(SETTINGS.release_ttl_s + 1.0)
        predict(number + turn, 0, 2, named=False)(world)
    world.replica.lags = 0.0


def _given_up(world: World) -> list[str]:
    """Return the trainings over which so many processes died that it was given up: those, and no others, have failed.

    Under this much misfortune that happens; the claims on record must bear it out.
    """
    found = []
    for key, stored in world.system._objects.items():
        names = layout.RESULTS.parse(key)
        if names is not None and decode(stored.body, TrainingResult).state == "failed":
            last = layout.CLAIMS.key(**names, attempt=layout.attempt_name(MAX_ATTEMPTS + 1))
            assert last in world.system._objects, f"training {names['key']} failed, and was not given up"
            found.append(names["key"])
    return found


def _tell(world: World, name: str, step: Step) -> None:
    step(world)
    if name not in TOGETHER[:-1]:
        world.rest(ROUNDS, must=False)


def _unkept(world: World) -> list[str]:
    """6: what a client was told is in the log, under the model that the answer names."""
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


def _went_back(world: World) -> list[str]:
    """No process that has served under an revision serves under an earlier one."""
    latest: dict[int, int] = {}
    wrong = []
    for instance, revision in world.revisions:
        if revision < latest.get(instance, 0):
            wrong.append(f"process {instance} served under revision {revision} after {latest[instance]}")
        latest[instance] = max(revision, latest.get(instance, 0))
    return wrong
