"""Models in memory: verified before they are loaded, run once before they serve, replaced without dropping a request.

The cache holds the champion of each use case. It reads the newest release again after RELEASE_TTL_S. It never goes
back to a lower revision, because a stale read must not undo a rollback. If the store does not answer or a new model
cannot be loaded, it keeps serving the old model and counts the failure.
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
"""How long a release that was read is used before it is read again."""
RETRY_AFTER_S = 5.0
"""When a client may retry after a model could not be loaded."""
FAILURE_PAUSE_S = 1.0
"""How long after a failed first load requests are answered "unavailable" without another attempt."""
FIRST_LOAD_WAIT_S = 20.0
"""How long a request waits for another thread's first load before it is answered "unavailable"."""
MAX_NUMBERED = 4
"""How many models that were requested by number are kept, besides the champions (least recently used go first)."""


class LoadedModel(msgspec.Struct, frozen=True):
    """A verified model that ran once. `revision`: of the release it serves under; 0 if it was requested by number."""

    usecase: str
    number: int
    revision: int
    manifest: ModelManifest
    scorer: Scorer

    @property
    def interface(self) -> ModelInterface:
        """The inputs that a request must have, and the outputs."""
        return self.manifest.interface


ReadRelease = Callable[[str], tuple[int, ReleaseDecision] | None]
"""Receives a use case and returns (revision, its newest release), None if there is none."""
Load = Callable[[str, int], LoadedModel]
"""Receives a use case and a model's number and returns the model, verified and run once (see `load_model`)."""


def load_model(
    number: int,
    version: ModelVersion,
    manifest_body: bytes,
    model_body: bytes,
    trust_roots: Mapping[str, bytes],
) -> LoadedModel:
    """Return a model that may serve: signed by a trusted key, with the signed bytes, and run once.

    Args:
        number: the model's number. version: its entry in the models ledger.
        manifest_body, model_body: the blobs of the manifest and of the model, as stored.
        trust_roots: key id -> public key (shared.registry.signatures).
    Raises: IntegrityError: a signature or digest does not verify, or the model cannot run. The model's bytes are not
        parsed before everything else was verified.
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
    _probabilities(model, {tensor.name: [None] for tensor in manifest.interface.inputs})
    return model


def predict(model: LoadedModel, columns: Mapping[str, Sequence[Any]]) -> tuple[list[float], list[int]]:
    """Return (probabilities of the positive class, labels), each of shape (rows,).

    A label is 1 if the probability is at least the threshold, compared as float32, as in the model's own graph.
    Args: columns: input -> values, one per row.
    Raises: IntegrityError: the model failed, or an output is not a probability. InvalidInput: as `columns_to_feeds`.
    """
    scored = _probabilities(model, columns)
    if not bool(np.all((scored >= 0.0) & (scored <= 1.0))):  # false for NaN as well
        raise IntegrityError(
            "the model gave an output that is not a probability", resource=f"{model.usecase}/{model.number}"
        )
    labels: list[int] = (scored >= np.float32(model.manifest.threshold)).astype(np.int64).tolist()
    probabilities: list[float] = scored.tolist()
    return probabilities, labels


class ModelCache:
    """The models of one process. Safe to share between threads.

    Args:
        spawn: receives a function and runs it in the background (a thread pool's submit). By default the request that
            finds the release out of date refreshes it itself; platforms that freeze a process between calls need that.
        ttl_s: how long a release that was read is used before it is read again.
    """

    def __init__(
        self, spawn: Callable[[Callable[[], None]], object] | None = None, *, ttl_s: float = RELEASE_TTL_S
    ) -> None:
        self._spawn = spawn
        self._ttl_s = ttl_s
        self._guard = threading.Lock()
        self._entries: dict[str, _CacheEntry] = {}
        self._numbered: OrderedDict[tuple[str, int], LoadedModel] = OrderedDict()
        self._numbered_lock = threading.Lock()

    def current(self, usecase: str, read_release: ReadRelease, load: Load, now: float) -> LoadedModel:
        """Return the champion of a use case.

        Args:
            read_release: reads its newest release. load: loads a model by number.
            now: seconds of a monotonic or wall clock; only differences matter.
        Raises: NotFound: no model was released. Unavailable: the champion cannot be loaded now.
        """
        entry = self._entry(usecase)
        if entry.model is None:
            self._load_first(entry, usecase, read_release, load, now)
        elif abs(now - entry.checked_at) >= self._ttl_s and entry.lock.acquire(blocking=False):
            # One thread refreshes; the others use the present model.
            self._refresh_in_turn(entry, usecase, read_release, load, now)
        model = entry.model
        if model is None:
            raise NotFound(
                f"no model of {usecase!r} is released; `tidegate status` shows the next action", resource=usecase
            )
        return model

    def numbered(self, usecase: str, number: int, load: Load) -> LoadedModel:
        """Return a model by number, whether it serves or not.

        Raises: NotFound: no such model. Unavailable: it cannot be loaded now.
        """
        entry = self._entries.get(usecase)
        serving = entry.model if entry else None
        if serving is not None and serving.number == number:
            return serving
        key = (usecase, number)
        with self._numbered_lock:  # one load at a time, because of memory
            model = self._numbered.get(key)
            if model is None:
                model = self._numbered[key] = _loaded(usecase, number, load)
            self._numbered.move_to_end(key)
            while len(self._numbered) > MAX_NUMBERED:
                self._numbered.popitem(last=False)
        return model

    def ready(self, usecase: str) -> bool:
        """Return whether the use case's champion is loaded and has run once."""
        entry = self._entries.get(usecase)
        return entry is not None and entry.model is not None

    def failures(self, usecase: str) -> int:
        """Return how often reading a release or loading a model failed since the process started."""
        entry = self._entries.get(usecase)
        return entry.failures if entry else 0

    def _entry(self, usecase: str) -> "_CacheEntry":
        entry = self._entries.get(usecase)
        if entry is None:
            with self._guard:
                entry = self._entries.setdefault(usecase, _CacheEntry())
        return entry

    def _load_first(
        self, entry: "_CacheEntry", usecase: str, read_release: ReadRelease, load: Load, now: float
    ) -> None:
        if not entry.lock.acquire(timeout=FIRST_LOAD_WAIT_S):
            raise _unavailable(f"the model of {usecase!r}")
        try:
            if entry.model is not None:
                return
            if entry.failed_at is not None and abs(now - entry.failed_at) < FAILURE_PAUSE_S:
                raise _unavailable(f"the model of {usecase!r}")
            try:
                _refresh(entry, usecase, read_release, load, now)
            except Exception as error:  # also MemoryError: the next request may have more
                entry.failed_at = now
                entry.failures += 1
                raise _unavailable(f"the model of {usecase!r}") from error
        finally:
            entry.lock.release()

    def _refresh_in_turn(
        self, entry: "_CacheEntry", usecase: str, read_release: ReadRelease, load: Load, now: float
    ) -> None:
        """Refresh an entry and release its lock, which the caller holds. On failure the entry keeps its model."""
        entry.checked_at = now  # before reading, so that a store that is down is asked only once per ttl

        def refresh() -> None:
            try:
                _refresh(entry, usecase, read_release, load, now)
            except Exception:  # also MemoryError: the present model keeps serving
                entry.failures += 1
            finally:
                entry.lock.release()

        if self._spawn is None:
            refresh()
            return
        try:
            self._spawn(refresh)
        except BaseException:
            entry.lock.release()
            raise


class _CacheEntry:
    """The cached champion of one use case. `model` and `checked_at` are read without the lock and written with it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.model: LoadedModel | None = None
        self.revision = 0
        self.checked_at = 0.0
        self.failures = 0
        self.failed_at: float | None = None


def _refresh(entry: _CacheEntry, usecase: str, read_release: ReadRelease, load: Load, now: float) -> None:
    """Update an entry to the newest release. Raises: what reading or loading raises; the entry keeps its model."""
    newest = read_release(usecase)
    entry.checked_at = now
    if newest is None or newest[0] < entry.revision:
        return
    revision, release = newest
    entry.revision = revision
    if release.champion is None:
        return
    model = entry.model
    if model is None or model.number != release.champion:
        model = load(usecase, release.champion)
    if model.revision != revision:
        model = msgspec.structs.replace(model, revision=revision)
    entry.model = model


def _loaded(usecase: str, number: int, load: Load) -> LoadedModel:
    try:
        return load(usecase, number)
    except NotFound as error:
        raise NotFound(f"{usecase!r} has no model {number}", resource=usecase) from error
    except TidegateError as error:
        raise _unavailable(f"model {number} of {usecase!r}") from error


def _unavailable(what: str) -> Unavailable:
    return Unavailable(f"{what} cannot be loaded now; try again", retry_after_s=RETRY_AFTER_S)


def _probabilities(model: LoadedModel, columns: Mapping[str, Sequence[Any]]) -> Any:
    return model.scorer.score(columns_to_feeds(columns, model.manifest.interface))
