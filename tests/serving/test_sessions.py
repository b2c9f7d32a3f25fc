import threading
from typing import Any

import msgspec
import pytest

from shared.documents import digest_of, encode
from shared.errors import IntegrityError, NotFound, TidegateError, Unavailable
from shared.pipeline.records import ModelInterface
from shared.registry.signatures import sign
from shared.serving.records import ReleaseDecision
from shared.serving.sessions import (
    FAILURE_PAUSE_S,
    MAX_NUMBERED,
    RELEASE_TTL_S,
    LoadedModel,
    ModelCache,
    load_model,
    predict,
)


def load(signed: Any, number: int = 1, **changes: Any) -> LoadedModel:
    parts = {"version": signed.version, "manifest": signed.manifest_body, "model": signed.model, "roots": signed.roots}
    parts |= changes
    return load_model(number, parts["version"], parts["manifest"], parts["model"], parts["roots"])


def release(champion: int | None) -> ReleaseDecision:
    return ReleaseDecision(
        usecase="flights", champion=champion, action="release", reason="", by="release", cause="model.1"
    )


class World:
    """A store with releases and models, which can be down."""

    def __init__(self, signed: Any) -> None:
        self.ready = load(signed)
        self.newest: tuple[int, ReleaseDecision] | None = (1, release(1))
        self.broken: set[int] = set()
        self.down = False
        self.reads = 0
        self.loads: list[int] = []

    def read_release(self, usecase: str) -> tuple[int, ReleaseDecision] | None:
        self.reads += 1
        if self.down:
            raise Unavailable("down", provider="test")
        return self.newest

    def load(self, usecase: str, number: int) -> LoadedModel:
        self.loads.append(number)
        if number in self.broken:
            raise IntegrityError("unsigned")
        if number > 90:
            raise NotFound("no such entry")
        return msgspec.structs.replace(self.ready, number=number)

    def serve(self, cache: ModelCache, now: float) -> tuple[int, int]:
        model = cache.current("flights", self.read_release, self.load, now)
        return model.number, model.revision


@pytest.fixture
def world(signed: Any) -> World:
    return World(signed)


def test_a_signed_model_is_loaded_and_predicts(signed: Any) -> None:
    model = load(signed, 7)
    assert (model.number, model.revision, model.usecase) == (7, 0, "flights")
    probabilities, labels = predict(model, {"x": [0.0, -2.0, None], "colour": ["red", "blue", None]})
    assert probabilities == pytest.approx([0.7310586, 0.1192029, 0.5], abs=1e-6)
    assert labels == [1, 0, 1]


def test_a_model_that_does_not_verify_is_not_loaded(signed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("the model's bytes reached the runtime")

    monkeypatch.setattr("shared.serving.sessions.Scorer", never)
    changed = encode(msgspec.structs.replace(signed.manifest, threshold=0.9))
    other = msgspec.structs.replace(signed.manifest, usecase="taxis")
    elsewhere = msgspec.structs.replace(
        signed.version, manifest_digest=digest_of(encode(other)), signature=sign(encode(other), signed.private)
    )
    for changes in (
        {"manifest": changed},
        {"manifest": changed, "version": msgspec.structs.replace(signed.version, manifest_digest=digest_of(changed))},
        {"version": msgspec.structs.replace(signed.version, signature="A" * 86)},
        {"version": msgspec.structs.replace(signed.version, manifest_digest=digest_of(b"another"))},
        {"roots": {}},
        {"model": signed.model + b"\x00"},
        {"model": bytes(len(signed.model))},
        {"version": elsewhere, "manifest": encode(other)},
    ):
        with pytest.raises(IntegrityError):
            load(signed, **changes)


def test_a_signed_model_that_cannot_answer_is_not_loaded(
    signed: Any, interface: ModelInterface, failing_model: bytes
) -> None:
    with pytest.raises(IntegrityError, match="cannot be loaded"):
        load(type(signed)(b"\x08\x09 no model", interface))
    with pytest.raises(IntegrityError, match="failed on 1 rows"):
        load(type(signed)(failing_model, interface))


def test_an_output_that_is_not_a_probability_is_an_error(signed: Any) -> None:
    with pytest.raises(IntegrityError, match="not a probability"):
        predict(_with_scorer(load(signed), float("nan")), {"x": [0.0], "colour": ["red"]})
    with pytest.raises(IntegrityError, match="not a probability"):
        predict(_with_scorer(load(signed), 1.5), {"x": [0.0], "colour": ["red"]})


def _with_scorer(model: LoadedModel, score: float) -> LoadedModel:
    import numpy as np

    class Odd:
        def score(self, feeds: Any) -> Any:
            return np.array([score], dtype=np.float32)

    return msgspec.structs.replace(model, scorer=Odd())


def test_a_release_is_read_again_only_after_its_ttl(world: World) -> None:
    cache = ModelCache()
    assert not cache.ready("flights")
    assert world.serve(cache, 0.0) == (1, 1)
    assert cache.ready("flights")
    world.newest = (2, release(2))
    assert world.serve(cache, RELEASE_TTL_S - 0.01) == (1, 1)
    assert world.reads == 1
    assert world.serve(cache, RELEASE_TTL_S) == (2, 2)
    assert world.loads == [1, 2]


def test_a_new_revision_of_the_same_champion_loads_nothing(world: World) -> None:
    cache = ModelCache()
    world.serve(cache, 0.0)
    world.newest = (2, release(1))
    assert world.serve(cache, 10.0) == (1, 2)
    assert world.loads == [1]


def test_a_stale_read_never_undoes_a_rollback(world: World) -> None:
    cache = ModelCache()
    world.newest = (5, release(1))
    world.serve(cache, 0.0)
    world.newest = (4, release(2))
    assert world.serve(cache, 10.0) == (1, 5)
    world.newest = None
    assert world.serve(cache, 20.0) == (1, 5)


def test_the_old_model_serves_while_the_store_is_down(world: World) -> None:
    cache = ModelCache()
    world.serve(cache, 0.0)
    world.down = True
    for now in (10.0, 11.0, 12.0, 20.0):
        assert world.serve(cache, now) == (1, 1)
    assert world.reads == 3
    assert cache.failures("flights") == 2


def test_a_model_that_does_not_load_keeps_the_old_one_and_is_tried_again(world: World) -> None:
    cache = ModelCache()
    world.serve(cache, 0.0)
    world.newest, world.broken = (2, release(2)), {2}
    assert world.serve(cache, 10.0) == (1, 1)
    world.newest = (1, release(1))  # a stale read, after the newer one was seen
    assert world.serve(cache, 20.0) == (1, 1)
    world.newest, world.broken = (2, release(2)), set()
    assert world.serve(cache, 30.0) == (2, 2)
    assert cache.failures("flights") == 1


def test_a_failed_first_load_is_unavailable_with_a_retry_time(world: World) -> None:
    cache = ModelCache()
    world.broken = {1}
    with pytest.raises(Unavailable) as caught:
        world.serve(cache, 0.0)
    assert caught.value.retry_after_s
    assert not caught.value.provider
    with pytest.raises(Unavailable):
        world.serve(cache, FAILURE_PAUSE_S / 2)
    assert world.loads == [1]
    world.broken = set()
    assert world.serve(cache, FAILURE_PAUSE_S) == (1, 1)


def test_without_a_release_there_is_no_model(world: World) -> None:
    for newest in (None, (1, release(None))):
        world.newest = newest
        with pytest.raises(NotFound, match="tidegate status"):
            world.serve(ModelCache(), 0.0)
    world.newest = (1, release(95))
    with pytest.raises(Unavailable):
        world.serve(ModelCache(), 0.0)


def test_models_by_number_are_kept_within_bounds(world: World) -> None:
    cache = ModelCache()
    world.serve(cache, 0.0)
    assert cache.numbered("flights", 1, world.load).revision == 1
    for number in range(2, 4 + MAX_NUMBERED):
        assert cache.numbered("flights", number, world.load).number == number
    before = len(world.loads)
    cache.numbered("flights", 3 + MAX_NUMBERED, world.load)
    assert len(world.loads) == before
    cache.numbered("flights", 2, world.load)
    assert len(world.loads) == before + 1
    with pytest.raises(NotFound, match="no model 99"):
        cache.numbered("flights", 99, world.load)
    world.broken = {50}
    with pytest.raises(Unavailable):
        cache.numbered("flights", 50, world.load)


def test_the_least_recently_used_model_by_number_is_dropped(world: World) -> None:
    cache = ModelCache()
    for number in range(1, MAX_NUMBERED + 1):
        cache.numbered("flights", number, world.load)
    cache.numbered("flights", 1, world.load)  # used again: now 2 is the oldest
    assert world.loads == list(range(1, MAX_NUMBERED + 1)), "as many as there is room for"
    cache.numbered("flights", 50, world.load)
    for kept in (1, *range(3, MAX_NUMBERED + 1), 50):
        cache.numbered("flights", kept, world.load)
    assert world.loads[MAX_NUMBERED:] == [50]
    cache.numbered("flights", 2, world.load)
    assert world.loads[MAX_NUMBERED:] == [50, 2]


def test_a_release_is_read_again_when_the_clock_was_set_back(world: World) -> None:
    cache = ModelCache()
    world.serve(cache, 100.0)
    world.serve(cache, 100.0 - RELEASE_TTL_S)
    assert world.reads == 2


def test_requests_go_on_while_one_thread_swaps(world: World) -> None:
    cache = ModelCache()
    world.serve(cache, 0.0)
    world.newest = (2, release(2))
    loading, go = threading.Event(), threading.Event()

    def slow(usecase: str, number: int) -> LoadedModel:
        loading.set()
        assert go.wait(10)
        return world.load(usecase, number)

    swapped: list[int] = []
    swapper = threading.Thread(
        target=lambda: swapped.append(cache.current("flights", world.read_release, slow, 10.0).number)
    )
    swapper.start()
    assert loading.wait(10)
    for _ in range(100):
        assert world.serve(cache, 10.0) == (1, 1)
    go.set()
    swapper.join(10)
    assert swapped == [2]
    assert world.serve(cache, 10.0) == (2, 2)
    assert world.loads == [1, 2]


def test_first_requests_load_once_together(world: World) -> None:
    cache = ModelCache()
    barrier = threading.Barrier(8)
    served: list[tuple[int, int]] = []
    errors: list[TidegateError] = []

    def call() -> None:
        barrier.wait(10)
        try:
            served.append(world.serve(cache, 0.0))
        except TidegateError as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert served == [(1, 1)] * 8
    assert not errors
    assert world.loads == [1]


def test_a_refresh_can_run_in_the_background(world: World) -> None:
    waiting: list[Any] = []
    cache = ModelCache(waiting.append)
    world.serve(cache, 0.0)
    world.newest = (2, release(2))
    assert world.serve(cache, 10.0) == (1, 1)
    assert world.serve(cache, 20.0) == (1, 1)
    assert len(waiting) == 1
    waiting.pop()()
    assert world.serve(cache, 20.0) == (2, 2)


def test_a_memory_error_while_swapping_drops_no_request(world: World) -> None:
    cache = ModelCache()
    world.serve(cache, 0.0)
    world.newest = (2, release(2))

    def hungry(usecase: str, number: int) -> LoadedModel:
        raise MemoryError

    assert cache.current("flights", world.read_release, hungry, 10.0).number == 1
    assert cache.failures("flights") == 1
    assert world.serve(cache, 20.0) == (2, 2)
