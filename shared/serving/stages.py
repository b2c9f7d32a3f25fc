"""What the stages ledger means: who serves, and who served before."""

from collections.abc import Iterable

from shared.serving.records import Stage


def champions(stages: Iterable[Stage]) -> list[int]:
    """Return the champions that a rollback would walk down, the serving one last.

    A release or promotion puts a model on top; a rollback takes the top one off. A refusal changes nothing.

    >>> from shared.serving.records import Stage
    >>> def stage(action, champion): return Stage(usecase="u", champion=champion, action=action, reason="", by="", cause="")
    >>> champions([stage("release", 1), stage("refuse", 1), stage("release", 3), stage("rollback", 1)])
    [1]
    """
    served: list[int] = []
    for stage in stages:
        if stage.action == "rollback":
            if served:
                served.pop()
        elif stage.action in ("release", "promote") and stage.champion is not None:
            served.append(stage.champion)
    return served


def rollback_target(stages: Iterable[Stage]) -> int | None:
    """Return the model that served before the present champion, or None where there was none."""
    served = champions(stages)
    return served[-2] if len(served) > 1 else None
