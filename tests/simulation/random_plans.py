"""One seed, one world in which everything goes wrong by chance, and what must be true of it once it is at rest."""

import msgspec

from adapters.memory.faults import Decision, Fault, FaultPlan, Rates
from shared.serving.capture_files import read_all
from tests.simulation.material import USECASE
from tests.simulation.scenario import STEPS, Step, begin, watch
from tests.simulation.world import World

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
ROUNDS = 60
"""How long the world may work after each stimulus before the next one comes."""
TOGETHER = (
    "upload of January",
    "upload of February, first training",
    "upload of a damaged file",
    "a file dropped by hand",
)
"""Stimuli that arrive before anything has run: their order is free."""


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
        for name, step in STEPS.items():
            _tell(world, name, step)
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
    if not models:
        wrong.append("no model came of two months of data")
    if len(models) != len(world.executions):
        wrong.append(f"{len(world.executions)} keys were trained, and {len(models)} models have a number")
    for key, count in world.executions.items():
        if count > 1 + world.interruptions[key]:
            wrong.append(f"training {key[:19]} ran {count} times, and was interrupted {world.interruptions[key]} times")
    return wrong + _unkept(world) + _went_back(world)


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
    """No process that has served under an epoch serves under an earlier one."""
    latest: dict[int, int] = {}
    wrong = []
    for instance, epoch in world.epochs:
        if epoch < latest.get(instance, 0):
            wrong.append(f"process {instance} served under epoch {epoch} after {latest[instance]}")
        latest[instance] = max(epoch, latest.get(instance, 0))
    return wrong
