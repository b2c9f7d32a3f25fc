"""The scenario of every simulation: one use case from its charter to a rollback, one step at a time."""

from collections.abc import Callable
from typing import Any

from shared.documents import digest_of, encode
from shared.events import TrainingRequested, first_event
from shared.ports import ObjectStore
from shared.usecase.charter import CharterVersion, Signature
from shared.usecase.effective import charters
from tests.simulation.material import CHARTER, DAMAGED, DRIFTED, MONTHS, USECASE
from tests.simulation.world import World, call

MARCH = 1_362_096_000.0
Step = Callable[[World], None]


def begin(**arguments: Any) -> World:
    """Return a world in which the charter is signed off."""
    world = World(**arguments)
    sign_off(world.system)
    return world


def sign_off(system: ObjectStore) -> None:
    """Put the charter in effect."""
    version = CharterVersion(
        charter=CHARTER,
        digest=digest_of(encode(CHARTER)),
        signatures=(Signature("business", "Harbour", 0.0), Signature("data_science", "Gauges", 0.0)),
    )
    charters(system, USECASE).append(lambda _: version)


def upload(name: str, body: bytes, number: int) -> Step:
    """Return the step in which a client uploads a file."""

    def step(world: World) -> None:
        response = world.request("uploads", call("upload", {"usecase": USECASE, "name": name}, body, number))
        world.expect(response, 202)

    return step


def drop(world: World) -> None:
    """Drop a known file by hand under another name. Reconcile finds it."""
    while (
        world.attempt("outside", lambda: world.landing.put_new(f"drops/{USECASE}/again.csv", MONTHS["2013-01"])) is None
    ):
        world.clock.advance(1.0)
    world.clock.advance(10.0)
    world.tick("reconcile")


def predict(number: int, first: int, count: int, *, named: bool = True) -> Step:
    """Return the step in which a client requests predictions for rows of March, one day for each batch."""

    def step(world: World) -> None:
        rows = DRIFTED[first : first + count]
        body = {
            **({"id": f"batch-{number}"} if named else {}),
            "parameters": {"at": MARCH + 1000.0 * number, "ids": {"row": [row["row"] for row in rows]}},
            "inputs": [
                {"name": name, "datatype": kind, "shape": [count], "data": [row[name] for row in rows]}
                for name, kind in (("level", "FP32"), ("wind", "FP32"), ("moon", "BYTES"))
            ],
        }
        response = world.request("infer", call("infer", {"usecase": USECASE}, body, number))
        world.expect(response, 200)

    return step


def label(number: int) -> Step:
    """Return the step in which a client reports the outcomes of March by the charter's id column."""

    def step(world: World) -> None:
        labels = [{"ids": {"row": row["row"]}, "value": row["shut"]} for row in DRIFTED]
        body = {"labels": labels, "at": MARCH + 10_000.0}
        response = world.request("labels", call("label", {"usecase": USECASE}, body, number))
        world.expect(response, 202)

    return step


def monitor(world: World) -> None:
    """Let the schedule of monitoring fire."""
    world.tick("monitor")


def release(number: int, **asked: Any) -> Step:
    """Return the step in which a person promotes a model or rolls back."""

    def step(world: World) -> None:
        body = {"reason": "a person wants it", **asked}
        response = world.request("release", call("release", {"usecase": USECASE}, body, number))
        world.expect(response, 200)

    return step


def ask(operation: str, number: int) -> Step:
    """Return the step in which a client reads about the serving model."""

    def step(world: World) -> None:
        world.expect(world.request("infer", call(operation, {"usecase": USECASE}, b"", number)), 200)

    return step


def lose_everything(world: World) -> None:
    """Request a training by hand, and lose first its job and then the next job's event. Reconcile finds both."""
    event = first_event(
        TrainingRequested(cause="person.tester", kind="person"),
        usecase=USECASE,
        source="/cli",
        origin="by hand",
        at=MARCH,
    )
    world.attempt("outside", lambda: world.queues["trigger"].send(encode(event)))
    while world.work_on("trigger"):
        pass
    world.jobs._due.clear()
    world.clock.advance(1000.0)
    world.tick("reconcile")
    for function in ("reconcile", "trigger"):
        world.work_on(function)
    world.run_job()
    world.queues["register"]._messages.clear()
    world.clock.advance(1000.0)


def lose_request(world: World) -> None:
    """Accept a file, and lose the event that requests a training. Reconcile finds the dataset without a decision."""
    upload("january-again.csv", MONTHS["2013-01"].replace(b"new", b"full"), 13)(world)
    while world.work_on("validate"):
        pass
    world.queues["trigger"]._messages.clear()
    world.clock.advance(1000.0)
    world.tick("reconcile")


def look_up_receipt(world: World) -> None:
    """Ask for the receipt of an upload."""
    receipt = next(key for key in world.system._keys if key.startswith("receipts/"))[-69:-5]
    names = {"usecase": USECASE, "receipt": receipt}
    world.expect(world.request("uploads", call("receipt", names, b"", 12)), 200)


STEPS: dict[str, Step] = {
    "upload of January": upload("january.csv", MONTHS["2013-01"], 1),
    "upload of February, first training": upload("february.csv", MONTHS["2013-02"], 2),
    "upload of a damaged file": upload("damaged.csv", DAMAGED, 3),
    "a file dropped by hand": drop,
    "health": ask("serverReady", 4),
    "predictions, first batch": predict(5, 0, 150),
    "predictions, second batch": predict(6, 150, 150),
    "labels": label(7),
    "upload of March": upload("march.csv", MONTHS["2013-03"], 8),
    "monitoring, alert, second training": monitor,
    "a person changes the champion": release(9, action="promote", model=1),
    "a person rolls back": release(10, action="rollback"),
    "predictions after the rollback": predict(11, 0, 5),
}


ASIDE: dict[str, Step] = {
    "a job and a message are lost": lose_everything,
    "a request to train is lost": lose_request,
    "a receipt is looked up": look_up_receipt,
}
"""Steps that are needed only to use every grant."""
