"""fsck finds what is broken: a breakage planted for each thing that it checks, in a world that was clean."""

import copy
from collections.abc import Callable

import msgspec
import pytest

from shared import layout
from shared.data.records import DatasetVersion, Receipt
from shared.documents import decode, encode
from shared.events import Event
from shared.layout import number_name
from shared.monitoring.fsck import INVARIANTS
from shared.monitoring.records import WindowReport
from shared.pipeline.records import TrainingDecision
from shared.registry.ledger import Hint
from shared.serving.capture_files import read_arrow, to_arrow
from shared.serving.records import ModelVersion, Stage
from tests.simulation.material import USECASE
from tests.simulation.scenario import STEPS
from tests.simulation.test_crashes import undisturbed
from tests.simulation.world import World

Plant = Callable[[World], None]


def first(world: World, family: layout.Family, number: int = 0) -> str:
    """Return a key of a family."""
    store = {"landing": world.landing, "system": world.system, "capture": world.capture}[family.store]
    return [key for key in store._keys if family.parse(key) is not None][number]


def lose(family: layout.Family, number: int = 0) -> Plant:
    """Return the breakage in which an object of a family is lost."""

    def plant(world: World) -> None:
        store = {"landing": world.landing, "system": world.system, "capture": world.capture}[family.store]
        store.delete(first(world, family, number))

    plant.__name__ = f"lost_{family.name}_{number}"
    return plant


def change(world: World, place: str, kind: type, /, **fields: object) -> None:
    """Write a document anew with other fields."""
    document = decode(world.system._objects[place].body, kind)
    world.system.put(place, encode(msgspec.structs.replace(document, **fields)))


def torn_blob(world: World) -> None:
    world.system.put(first(world, layout.BLOBS), b"torn")


def unknown_key(world: World) -> None:
    world.system.put("somewhere/else.json", b"{}")


def garbage(world: World) -> None:
    world.system.put(first(world, layout.DATASETS), b"{")


def newer_format(world: World) -> None:
    key = first(world, layout.VERDICTS)
    world.system.put(key, world.system._objects[key].body.replace(b"verdict/1", b"verdict/2"))


def foreign_document(world: World) -> None:
    change(world, first(world, layout.RECEIPTS), Receipt, usecase="other")


def receipt_of_another(world: World) -> None:
    change(world, first(world, layout.RECEIPTS), Receipt, etag="another")


def accepted_as_nothing(world: World) -> None:
    keys = [key for key in world.system._keys if layout.RECEIPTS.parse(key)]
    accepted = next(key for key in keys if b'"accepted"' in world.system._objects[key].body)
    change(world, accepted, Receipt, dataset=99)


def hint_past_the_tail(world: World) -> None:
    world.system.put(first(world, layout.HINTS), encode(Hint(number=99)))


def two_numbers_for_a_key(world: World) -> None:
    model = world.system._objects[first(world, layout.MODELS)].body
    world.system.put(layout.MODELS.key(usecase=USECASE, number=number_name(3)), model)


def unsigned_model(world: World) -> None:
    change(world, first(world, layout.MODELS), ModelVersion, signature="AA")


def dataset_swapped(world: World) -> None:
    change(world, first(world, layout.DATASETS), DatasetVersion, rows=1)


def key_without_its_spec(world: World) -> None:
    change(world, first(world, layout.TRAININGS, 1), TrainingDecision, key="0" * 64)


def champion_out_of_nowhere(world: World) -> None:
    last = first(world, layout.STAGES, -1)
    change(world, last, Stage, champion=99)


def decided_twice(world: World) -> None:
    stage = decode(world.system._objects[first(world, layout.STAGES)].body, Stage)
    number = len([key for key in world.system._keys if layout.STAGES.parse(key)]) + 1
    world.system.put(layout.STAGES.key(usecase=USECASE, number=number_name(number)), encode(stage))


def event_of_another_day(world: World) -> None:
    key = first(world, layout.EVENTS)
    change(world, key, Event, time="1999-01-01T00:00:00.000Z")


def window_of_no_model(world: World) -> None:
    change(world, first(world, layout.WINDOWS), WindowReport, model=99)


def prediction_of_no_model(world: World) -> None:
    key = first(world, layout.PREDICTIONS)
    predictions = [msgspec.structs.replace(one, model=99) for one in read_arrow(world.capture._objects[key].body)]
    world.capture.put(key, to_arrow(predictions))


def answered_twice(world: World) -> None:
    key = first(world, layout.PREDICTIONS)
    predictions = [
        msgspec.structs.replace(one, probability=0.123) for one in read_arrow(world.capture._objects[key].body)
    ]
    world.capture.put(key.replace(key[-70:-6], "0" * 64), to_arrow(predictions))


def torn_capture(world: World) -> None:
    world.capture.put(first(world, layout.PREDICTIONS), b"torn")


PLANTS: list[tuple[int, Plant]] = [
    (1, lose(layout.RECEIPTS)),
    (1, lose(layout.QUARANTINE)),
    (1, receipt_of_another),
    (1, accepted_as_nothing),
    (2, two_numbers_for_a_key),
    (3, lose(layout.TRAININGS)),
    (3, lose(layout.STAGES)),
    (3, hint_past_the_tail),
    (3, decided_twice),
    (4, lose(layout.BLOBS)),
    (4, lose(layout.VERDICTS)),
    (4, lose(layout.CONTRACTS)),
    (4, lose(layout.RESULTS)),
    (4, lose(layout.ALERTS)),
    (4, lose(layout.EDGES)),
    (4, torn_blob),
    (4, unknown_key),
    (4, garbage),
    (4, newer_format),
    (4, dataset_swapped),
    (4, key_without_its_spec),
    (4, event_of_another_day),
    (4, window_of_no_model),
    (5, champion_out_of_nowhere),
    (5, lose(layout.MODELS, 1)),
    (6, prediction_of_no_model),
    (6, answered_twice),
    (6, torn_capture),
    (8, foreign_document),
    (8, unsigned_model),
]


@pytest.mark.parametrize(("invariant", "plant"), PLANTS, ids=[plant.__name__ for _, plant in PLANTS])
def test_a_planted_breakage_is_found(invariant: int, plant: Plant) -> None:
    world = copy.deepcopy(undisturbed()[list(STEPS)[-1]][1])
    assert world.check().findings == ()
    plant(world)
    assert invariant in {finding.invariant for finding in world.check().findings}


def test_each_invariant_has_a_breakage() -> None:
    assert {invariant for invariant, _ in PLANTS} == set(INVARIANTS)
