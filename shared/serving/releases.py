"""Read the releases ledger: which model serves, and which served before."""

from collections.abc import Iterable

from shared.ports import ObjectStore
from shared.registry.edges import link
from shared.registry.ledger import Entry
from shared.serving.records import ReleaseDecision


def champions(releases: Iterable[ReleaseDecision]) -> list[int]:
    """Return the history of champions that a rollback walks back through, oldest first; the last item serves now.

    A release or a promotion pushes a model; a rollback pops one; a refusal changes nothing.
    Args: releases: the entries of the ledger, oldest first.

    >>> history = [("release", 1), ("refuse", 1), ("release", 3), ("rollback", 1)]
    >>> def decided(action, model):
    ...     return ReleaseDecision(usecase="u", champion=model, action=action, reason="", by="", cause="")
    >>> champions(decided(*each) for each in history)
    [1]
    """
    served: list[int] = []
    for release in releases:
        if release.action == "rollback":
            if served:
                served.pop()
        elif release.action in ("release", "promote") and release.champion is not None:
            served.append(release.champion)
    return served


def rollback_target(releases: Iterable[ReleaseDecision]) -> int | None:
    """Return the champion after a rollback: the one before the present one, or None. Args: releases: oldest first."""
    served = champions(releases)
    return served[-2] if len(served) > 1 else None


def link_release(store: ObjectStore, release: Entry[ReleaseDecision]) -> None:
    """Write the lineage edge from a model to the release about it: the model of its gate report, else its champion."""
    document = release.document
    model = document.gate_report.model if document.gate_report else document.champion
    if model is not None:
        link(store, document.usecase, f"model.{model}", document.action, f"release.{release.number}")
