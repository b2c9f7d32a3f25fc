"""The ML pipeline: `train`."""

import re
from typing import TYPE_CHECKING

import typer

from cli.output import emit, progress, say
from cli.state import (
    DEFAULT_HOME,
    ByOption,
    HomeOption,
    JsonOption,
    UsecaseOption,
    WaitOption,
    charter_in_effect,
    composed,
    opened,
    stated,
    usecase_of,
)
from shared.errors import DeadlineExceeded

if TYPE_CHECKING:
    from shared.monitoring.status import TrainingStatus
    from shared.platform import Platform
    from shared.ports import ObjectStore
    from shared.serving.records import ReleaseDecision

REFUSED = 1


def train(
    by: ByOption,
    usecase: UsecaseOption = None,
    wait: WaitOption = 600.0,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Request a training and wait for its outcome.

    The outcome is a model that is released or refused by the gates, a failed training, or a request that the charter's
    policy refuses. Exit code 1: no model was released.

    Example: tidegate train --by "the harbour master"
    """
    name = stated(by, "--by")
    opened_home = opened(home)
    platform = composed(opened_home)
    chosen = usecase_of(platform.system, usecase)
    charter_in_effect(platform.system, chosen)
    cause = request_training(chosen, name, platform)
    if wait > 0:
        from cli.waiting import settle

        progress(f"waiting for the training that {cause} requested")
        if not settle(opened_home, lambda: _ended(chosen, cause, platform.system), wait):
            raise DeadlineExceeded(f"not done after {wait:g} s; it continues: `tidegate status` shows its progress")
    training = _training(chosen, cause, platform.system)
    release = _release_of(chosen, training, platform.system)
    answer = {"usecase": chosen, "cause": cause, "training": training, "release": release}

    def show() -> None:
        if training is None:
            say(f"requested as {cause}; `tidegate status` shows its progress")
            return
        say(f"training {training.number}: {training.state} ({training.reason})")
        if training.model is not None:
            decision = f"{release.action} ({release.reason})" if release else "no release decision yet"
            say(f"model {training.model}: {decision}")

    emit(answer, as_json, show)
    if wait > 0 and not (release is not None and release.action == "release"):
        raise typer.Exit(REFUSED)


def request_training(usecase: str, by: str, platform: "Platform") -> str:
    """Record and send a person's request for a training; return its lineage node ("person.ada-1f...")."""
    from functions.runtimes.dispatch import record, send
    from shared.events import TrainingRequested, first_event

    cause = f"person.{_slug(by)}-{platform.ids.new()[:12]}"
    event = first_event(
        TrainingRequested(cause=cause, kind="person"),
        usecase=usecase,
        source="/cli",
        origin=cause,
        at=platform.clock.now(),
    )
    record(event, platform)
    send(event, platform)
    return cause


def _slug(name: str) -> str:
    """Return a person's name in the form that a lineage node allows.

    >>> _slug("The lead (data)")
    'the-lead-data'
    """
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "someone"


def _ended(usecase: str, cause: str, system: "ObjectStore") -> bool:
    """Return whether the request has its final outcome."""
    from shared.monitoring.status import UNFINISHED

    training = _training(usecase, cause, system)
    if training is None or training.state in UNFINISHED:
        return False
    return training.model is None or _release_of(usecase, training, system) is not None


def _training(usecase: str, cause: str, system: "ObjectStore") -> "TrainingStatus | None":
    from shared.monitoring.status import status

    return next((one for one in status(system, usecase).trainings if one.cause == cause), None)


def _release_of(usecase: str, training: "TrainingStatus | None", system: "ObjectStore") -> "ReleaseDecision | None":
    """Return the release decision on the training's model, None where there is none yet."""
    from shared import layout
    from shared.registry.ledger import Ledger
    from shared.serving.records import ReleaseDecision

    if training is None or training.model is None:
        return None
    entries = Ledger(system, layout.RELEASES, usecase, ReleaseDecision).entries()
    return next((entry.document for entry in entries if entry.document.cause == f"model.{training.model}"), None)
