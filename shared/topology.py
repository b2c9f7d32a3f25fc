"""The topology: every function as data.

Local wiring, grants, schedules, queues, cloud policies and the documentation's tables are derived from FUNCTIONS.
Nothing about a function is declared anywhere else. The local runtime enforces the grants that become cloud policies.
"""

from typing import Literal

import msgspec

from shared import events, layout
from shared.errors import ConfigurationError
from shared.layout import Family, StoreName

Access = Literal["read", "create"]
Unit = Literal["serve", "data", "train"]


class Grant(msgspec.Struct, frozen=True):
    """One function's access to one family of keys.

    "read" is get, head and list. "create" is create-if-absent, with get and head to read back but not list; for hints
    it is also put. No grant allows replacing any other object, or deleting one.
    """

    access: Access
    family: Family

    @property
    def store(self) -> StoreName:
        """The logical store of the family."""
        return self.family.store


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One function.

    Args: subscribes: the event types that it receives, through the queue of its own name. sends: the event types that
        it may return. http: it answers the routes that name it. schedule: the setting with its period in seconds. job:
        it runs only as a job. submits: the functions that it may submit as jobs, which may include itself. secrets:
        the secrets that it may read. measures: it may read the service's metrics. timeout_s: its time limit; on
        clouds, the visibility timeout of its queue is six times as long.
    """

    name: str
    unit: Unit
    about: str
    subscribes: tuple[str, ...] = ()
    sends: tuple[str, ...] = ()
    http: bool = False
    schedule: str = ""
    job: bool = False
    submits: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    measures: bool = False
    grants: tuple[Grant, ...] = ()
    memory_mb: int = 512
    timeout_s: int = 60
    concurrency: int = 1


def _read(*families: Family) -> tuple[Grant, ...]:
    return tuple(Grant("read", family) for family in families)


def _create(*families: Family) -> tuple[Grant, ...]:
    return tuple(Grant("create", family) for family in families)


_APPEND = _create(layout.HINTS, layout.INTENTS)
"""Grants that appending to any ledger needs, besides the ledger's own."""

MAX_RECEIVES = 5
"""After so many receives a message is dead-lettered."""

FUNCTIONS: tuple[Function, ...] = (
    Function(
        name="validate",
        unit="data",
        about="Profiles an upload and validates it under its contract; records a dataset version, or quarantines it. "
        "Submits a job of itself for a large file.",
        subscribes=(events.UploadReceived.TYPE,),
        sends=(events.TrainingRequested.TYPE,),
        memory_mb=2048,
        timeout_s=300,
        concurrency=2,
        submits=("validate",),
        grants=(
            *_read(layout.UPLOADS, layout.DROPS, layout.CHARTERS),
            *_APPEND,
            *_create(layout.EFFECTS),
            *_create(layout.CONTRACTS, layout.DATASETS, layout.RECEIPTS, layout.VALIDATIONS),
            *_create(layout.BLOBS, layout.QUARANTINE, layout.EDGES, layout.EVENTS),
        ),
    ),
    Function(
        name="trigger",
        unit="serve",
        about="Grants or refuses a training by policy, cooldown and budget; submits the training job.",
        subscribes=(events.TrainingRequested.TYPE, events.TrainingGranted.TYPE),
        sends=(events.TrainingGranted.TYPE,),
        submits=("train",),
        grants=(
            *_read(layout.CHARTERS, layout.CONTRACTS, layout.DATASETS, layout.RELEASES, layout.RESULTS),
            *_APPEND,
            *_create(layout.PIPELINES, layout.TRAININGS, layout.EFFECTS, layout.EDGES, layout.EVENTS),
        ),
    ),
    Function(
        name="train",
        unit="train",
        about="Searches, tests and exports a model in a job; records a result. Has no access to the signing key.",
        job=True,
        sends=(events.TrainingFinished.TYPE,),
        memory_mb=4096,
        timeout_s=3600,
        grants=(
            *_read(layout.TRAININGS, layout.CHARTERS, layout.CONTRACTS, layout.DATASETS, layout.MODELS),
            *_create(layout.CLAIMS, layout.TRIALS, layout.BLOBS, layout.RESULTS, layout.EDGES, layout.EVENTS),
        ),
    ),
    Function(
        name="register",
        unit="serve",
        about="Checks a result in a limited subprocess, signs the model, and assigns its version number.",
        subscribes=(events.TrainingFinished.TYPE,),
        sends=(events.ModelRegistered.TYPE,),
        secrets=("signing-key",),
        memory_mb=1024,
        timeout_s=120,
        grants=(
            *_read(layout.RESULTS),
            *_APPEND,
            *_create(layout.BLOBS, layout.MODELS, layout.REFUSALS, layout.EDGES, layout.EVENTS),
        ),
    ),
    Function(
        name="release",
        unit="serve",
        about="Evaluates the release gates; promotes a model or rolls back on request.",
        subscribes=(events.ModelRegistered.TYPE,),
        http=True,
        grants=(
            *_read(layout.CHARTERS, layout.RESULTS, layout.MODELS, layout.BLOBS),
            *_APPEND,
            *_create(layout.RELEASES, layout.EDGES),
        ),
    ),
    Function(
        name="infer",
        unit="serve",
        about="Predicts with the champion; sends each prediction to capture before it answers.",
        http=True,
        sends=(events.PredictionsCaptured.TYPE,),
        concurrency=16,
        timeout_s=30,
        grants=(*_read(layout.RELEASES, layout.MODELS, layout.BLOBS, layout.HINTS), *_create(layout.PAYLOADS)),
    ),
    Function(
        name="uploads",
        unit="serve",
        about="Accepts a data file over HTTPS into the landing store; returns the receipt of an upload.",
        http=True,
        sends=(events.UploadReceived.TYPE,),
        grants=(
            *_read(layout.CHARTERS, layout.HINTS, layout.RECEIPTS),
            *_create(layout.UPLOADS, layout.EVENTS),
        ),
    ),
    Function(
        name="labels",
        unit="serve",
        about="Accepts labels (outcomes of predictions) over HTTPS.",
        http=True,
        grants=(*_read(layout.CHARTERS, layout.CONTRACTS, layout.HINTS), *_create(layout.LABELS)),
    ),
    Function(
        name="collect",
        unit="data",
        about="Writes captured predictions to capture files.",
        subscribes=(events.PredictionsCaptured.TYPE,),
        grants=(*_read(layout.PAYLOADS), *_create(layout.PREDICTIONS)),
    ),
    Function(
        name="monitor",
        unit="data",
        about="Evaluates a window of production data for drift, performance and service; raises alerts and requests "
        "training.",
        subscribes=(events.WindowDue.TYPE, events.ScheduleFired.TYPE),
        sends=(events.WindowDue.TYPE, events.TrainingRequested.TYPE),
        schedule="monitor_every_s",
        measures=True,
        memory_mb=1024,
        timeout_s=300,
        grants=(
            *_read(layout.CHARTERS, layout.DATASETS, layout.MODELS, layout.RELEASES, layout.BLOBS, layout.HINTS),
            *_read(layout.PREDICTIONS, layout.LABELS),
            *_create(layout.WINDOWS, layout.ALERTS, layout.EDGES, layout.EVENTS),
        ),
    ),
    Function(
        name="reconcile",
        unit="data",
        about="Finds missed work and requests it again: uploads without a receipt, grants without a result, results "
        "without a model, a new train unit without a training.",
        subscribes=(events.ScheduleFired.TYPE,),
        sends=(
            events.UploadReceived.TYPE,
            events.TrainingRequested.TYPE,
            events.TrainingGranted.TYPE,
            events.TrainingFinished.TYPE,
        ),
        schedule="reconcile_every_s",
        grants=(
            *_read(layout.UPLOADS, layout.DROPS, layout.RECEIPTS, layout.DATASETS, layout.TRAININGS, layout.MODELS),
            *_read(layout.CLAIMS, layout.RESULTS, layout.REFUSALS, layout.RELEASES),
            *_create(layout.EFFECTS, layout.EDGES, layout.EVENTS),
        ),
    ),
)

BY_NAME: dict[str, Function] = {function.name: function for function in FUNCTIONS}


def function_named(name: str) -> Function:
    """Return one function. Raises: ConfigurationError: there is none with this name; the message lists all."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise ConfigurationError(f"no function {name!r}; functions are: {', '.join(sorted(BY_NAME))}") from None


def subscribers(event_type: str) -> tuple[str, ...]:
    """Return the functions that subscribe to an event type. ScheduleFired goes only to the function that it names."""
    return tuple(function.name for function in FUNCTIONS if event_type in function.subscribes)


def queue_names() -> tuple[str, ...]:
    """Return the names of all queues: one for each function that subscribes to an event."""
    return tuple(function.name for function in FUNCTIONS if function.subscribes)
