"""What the releases ledger means: who serves, and who served before."""

from collections.abc import Iterable

from shared.ports import ObjectStore
from shared.registry.edges import link
from shared.registry.ledger import Entry
from shared.serving.records import ReleaseDecision


def champions(releases: Iterable[ReleaseDecision]) -> list[int]:
    """Return the champions that a rollback would walk down, the serving one last.

    A release or promotion puts a model on top; a rollback takes the top one off. A refusal changes nothing.

    >>> from shared.serving.records import ReleaseDecision
    >>> told = [("release", 1), ("refuse", 1), ("release", 3), ("rollback", 1)]
    >>> champions(
    ...     ReleaseDecision(usecase="u", champion=model, action=action, reason="", by="", cause="") for action, model in told
    ... )
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
    """Return the model that served before the present champion, or None where there was none."""
    served = champions(releases)
    return served[-2] if len(served) > 1 else None


def link_release(store: ObjectStore, release: Entry[ReleaseDecision]) -> None:
    """Record which model a release is about: the one whose gates were asked, else the champion that a person set."""
    document = release.document
    model = document.gate_report.model if document.gate_report else document.champion
    if model is not None:
        link(store, document.usecase, f"model.{model}", document.action, f"release.{release.number}")
