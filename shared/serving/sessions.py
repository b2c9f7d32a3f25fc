"""Models in memory: verified before they are loaded, tried before they serve, swapped without dropping a request.

The cache holds the champion of each use case. It looks at the release again after RELEASE_TTL_S, never goes back to a
lower revision (a stale read must not undo a rollback), and keeps serving what it has when the store does not answer or a
new model does not load: an old model is better than none, and both are counted.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from shared.documents import digest_of
from shared.errors import IntegrityError, NotFound, TidegateError, Unavailable
from shared.pipeline.records import ModelInterface
from shared.pipeline.scoring import Scorer, columns_to_feeds
from shared.registry.signatures import verify
from shared.serving.records import ModelManifest, ModelVersion, ReleaseDecision

RELEASE_TTL_S = 5.0
RETRY_AFTER_S = 5.0
PAUSE_S = 1.0
"""How long requests are sent away after a first load failed, so that they do not queue for the next to fail."""
WAIT_S = 20.0
"""How long a request waits for another thread's first load before it is told to come back."""
MAX_NUMBERED = 4
"""Models kept that were asked for by number; the champions are not among them."""


class LoadedModel(msgspec.Struct, frozen=True):
    """A model that answered once. `revision`: of the release that it serves under; 0 where it was asked for by number."""

    usecase: str
    number: int
    revision: int
    manifest: ModelManifest
    scorer: Scorer

    @property
    def interface(self) -> ModelInterface:
        """The inputs that a request must bring, and the outputs."""
        return self.manifest.interface


ReadRelease = Callable[[str], tuple[int, ReleaseDecision] | None]
"""Use case -> its newest release with its revision, None where there is none."""
Load = Callable[[str, int], LoadedModel]
"""Use case and number -> the model, verified and warm (`load_model`)."""


def load_model(
    number: int,
    version: ModelVersion,
    manifest_body: bytes,
    model_body: bytes,
    trust_roots: Mapping[str, bytes],
) -> LoadedModel:
    """Return a model that may serve: signed by a trusted key, its bytes those that were signed, one inference run.

    Args: version: its entry in the models ledger. manifest_body, model_body: the blobs that it leads to, as read.
    Raises: IntegrityError: any of it does not hold; nothing of the model was interpreted before all of it did.
    """
    where = f"{version.usecase}/{number}"
    if digest_of(manifest_body) != version.manifest_digest:
        raise IntegrityError("the manifest's bytes are not those that its model version names", resource=where)
    verify(manifest_body, version.signature, version.signed_by, trust_roots)
    manifest = ModelManifest.decode(manifest_body)
    if (manifest.usecase, manifest.training_key) != (version.usecase, version.training_key):
        raise IntegrityError("the manifest was signed for another use case or training", resource=where)
    if len(model_body) != manifest.size_bytes or digest_of(model_body) != manifest.model_digest:
        raise IntegrityError("the model's bytes are not those that its manifest names", resource=where)
    model = LoadedModel(version.usecase, number, 0, manifest, Scorer(model_body, manifest.interface))
    _score(model, {tensor.name: [None] for tensor in manifest.interface.inputs})
    return model


def predict(model: LoadedModel, columns: Mapping[str, Sequence[Any]]) -> tuple[list[float], list[int]]:
    """Return probability of the positive class and label of each row.

    The label is 1 where the probability is at least the threshold, both as float32: as the model's own graph says it.

    Raises: IntegrityError: the model failed, or gave something that is no probability.
    """
    scores = _score(model, columns)
    if not bool(np.all((scores >= 0.0) & (scores <= 1.0))):  # false for NaN as well
        raise IntegrityError(
            "the model gave a score that is no probability", resource=f"{model.usecase}/{model.number}"
        )
    labels: list[int] = (scores >= np.float32(model.manifest.threshold)).astype(np.int64).tolist()
    probabilities: list[float] = scores.tolist()
    return probabilities, labels


class ModelCache:
    """The models of one process. Safe to share between threads.

    Args:
        spawn: runs a refresh beside the requests (a pool's submit); by default the request that finds the release old
            does it itself, as it must where the platform freezes a process between calls.
        ttl_s: for how long a release is believed.
    """

    def __init__(
        self, spawn: Callable[[Callable[[], None]], object] | None = None, *, ttl_s: float = RELEASE_TTL_S
    ) -> None:
        self._spawn = spawn
        self._ttl_s = ttl_s
        self._guard = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._numbered: OrderedDict[tuple[str, int], LoadedModel] = OrderedDict()
        self._numbered_lock = threading.Lock()

    def current(self, usecase: str, read_release: ReadRelease, load: Load, now: float) -> LoadedModel:
        """Return the champion.

        Args: now: seconds on any one clock; only differences count.
        Raises: NotFound: nothing has been released. Unavailable: there is a champion, and it cannot be loaded (yet).
        """
        slot = self._slot(usecase)
        if slot.model is None:
            self._first(slot, usecase, read_release, load, now)
        elif abs(now - slot.checked_at) >= self._ttl_s and slot.lock.acquire(blocking=False):
            # One thread looks; the others go on with what there is.
            self._look_again(slot, usecase, read_release, load, now)
        model = slot.model
        if model is None:
            raise NotFound(
                f"no model of {usecase!r} is released; `tidegate status` says who must act", resource=usecase
            )
        return model

    def numbered(self, usecase: str, number: int, load: Load) -> LoadedModel:
        """Return a model by number, serving or not. Raises: NotFound. Unavailable: it cannot be loaded."""
        slot = self._slots.get(usecase)
        serving = slot.model if slot else None
        if serving is not None and serving.number == number:
            return serving
        key = (usecase, number)
        with self._numbered_lock:  # one load at a time: each may take all the memory that there is
            model = self._numbered.get(key)
            if model is None:
                model = self._numbered[key] = _loaded(usecase, number, load)
            self._numbered.move_to_end(key)
            while len(self._numbered) > MAX_NUMBERED:
                self._numbered.popitem(last=False)
        return model

    def ready(self, usecase: str) -> bool:
        """Return whether an inference ran on the use case's champion."""
        slot = self._slots.get(usecase)
        return slot is not None and slot.model is not None

    def failures(self, usecase: str) -> int:
        """Return how often a release could not be read or a model not be loaded, since the process began."""
        slot = self._slots.get(usecase)
        return slot.failures if slot else 0

    def _slot(self, usecase: str) -> "_Slot":
        slot = self._slots.get(usecase)
        if slot is None:
            with self._guard:
                slot = self._slots.setdefault(usecase, _Slot())
        return slot

    def _first(self, slot: "_Slot", usecase: str, read_release: ReadRelease, load: Load, now: float) -> None:
        if not slot.lock.acquire(timeout=WAIT_S):
            raise _unavailable(f"the model of {usecase!r}")
        try:
            if slot.model is not None:
                return
            if slot.failed_at is not None and abs(now - slot.failed_at) < PAUSE_S:
                raise _unavailable(f"the model of {usecase!r}")
            try:
                _refresh(slot, usecase, read_release, load, now)
            except Exception as error:  # memory, too: the next request may find more of it
                slot.failed_at = now
                slot.failures += 1
                raise _unavailable(f"the model of {usecase!r}") from error
        finally:
            slot.lock.release()

    def _look_again(self, slot: "_Slot", usecase: str, read_release: ReadRelease, load: Load, now: float) -> None:
        """Refresh a slot whose lock is held, and release it; what it serves stays where that fails."""
        slot.checked_at = now  # first, so that a store that is down is asked once in a while only

        def look() -> None:
            try:
                _refresh(slot, usecase, read_release, load, now)
            except Exception:  # whatever went wrong (memory, too), the model that serves is whole
                slot.failures += 1
            finally:
                slot.lock.release()

        if self._spawn is None:
            look()
            return
        try:
            self._spawn(look)
        except BaseException:
            slot.lock.release()
            raise


class _Slot:
    """One use case's place in the cache. `model` and `checked_at` are read without the lock, written with it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.model: LoadedModel | None = None
        self.revision = 0
        self.checked_at = 0.0
        self.failures = 0
        self.failed_at: float | None = None


def _refresh(slot: _Slot, usecase: str, read_release: ReadRelease, load: Load, now: float) -> None:
    """Bring the slot up to the newest release seen. Raises: whatever reading or loading raises; the slot stays whole."""
    newest = read_release(usecase)
    slot.checked_at = now
    if newest is None or newest[0] < slot.revision:
        return
    revision, release = newest
    slot.revision = revision
    if release.champion is None:
        return
    model = slot.model
    if model is None or model.number != release.champion:
        model = load(usecase, release.champion)
    if model.revision != revision:
        model = msgspec.structs.replace(model, revision=revision)
    slot.model = model


def _loaded(usecase: str, number: int, load: Load) -> LoadedModel:
    try:
        return load(usecase, number)
    except NotFound as error:
        raise NotFound(f"{usecase!r} has no model {number}", resource=usecase) from error
    except TidegateError as error:
        raise _unavailable(f"model {number} of {usecase!r}") from error


def _unavailable(what: str) -> Unavailable:
    return Unavailable(f"{what} cannot be loaded now; try again", retry_after_s=RETRY_AFTER_S)


def _score(model: LoadedModel, columns: Mapping[str, Sequence[Any]]) -> Any:
    return model.scorer.score(columns_to_feeds(columns, model.manifest.interface))
