"""The retraining policy: whether a request to train is granted, from the charter and what was decided before.

A pure function of documents: it knows no clock but the data's own, so that a replay of the ledger decides alike.
"""

from collections.abc import Sequence
from typing import Literal

from shared.pipeline.records import TrainingDecision
from shared.usecase.charter import Charter

CauseKind = Literal["first", "new_data", "new_code", "drift", "performance", "person"]

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S


def training_allowed(
    charter: Charter,
    cause_kind: CauseKind,
    decisions: Sequence[TrainingDecision],
    data_end: float,
    windows_available: int,
) -> tuple[bool, str]:
    """Return whether a training is allowed, and the reason for the record, with its figures.

    The first training is allowed to any cause once `training.minimum_windows` are there. After it, a cause must be
    named in `retraining.on`, and `cooldown_days` must lie between the newest data of the last grant and of now; a
    person's request needs neither, and another train unit does not wait: it is not the data that moved. In no 365 days
    of data are more than `trainings_per_year` granted, to anybody.
    Args: decisions: earlier entries of the trainings ledger; refused ones do not count. data_end: end of the newest
        data, epoch s. windows_available: windows of `monitoring.window` that hold data.
    """
    rules = charter.retraining
    needed = charter.training.minimum_windows
    if windows_available < needed:
        return False, f"{_windows(windows_available, charter)} of data, training.minimum_windows is {needed}"
    granted = [_data_end(decision, data_end) for decision in decisions if decision.granted]
    if not granted:
        there = "is" if windows_available == 1 else "are"
        return True, f"the first training: {_windows(windows_available, charter)} of data {there} there"
    person = cause_kind == "person"
    if not person and cause_kind not in rules.on:
        return False, f"retraining.on does not name {cause_kind}, only {', '.join(rules.on) or 'nothing'}"
    waited = (data_end - max(granted)) / DAY_S
    if not person and cause_kind != "new_code" and waited < rules.cooldown_days:
        return False, (
            f"{max(0.0, waited):.1f} days of data since the last training, "
            f"retraining.cooldown_days is {rules.cooldown_days}"
        )
    in_year = sum(1 for at in granted if at > data_end - YEAR_S)
    if in_year >= rules.trainings_per_year:
        return False, (
            f"{in_year} training{'' if in_year == 1 else 's'} in the last 365 days of data, "
            f"retraining.trainings_per_year is {rules.trainings_per_year}"
        )
    budget = f"{in_year + 1} of {rules.trainings_per_year} trainings a year"
    asked = "a person asked" if person else f"{cause_kind}, {waited:.1f} days of data after the last training"
    return True, f"{asked}; {budget}"


def _data_end(decision: TrainingDecision, now: float) -> float:
    """Return the data's time of a grant; one that does not say counts as just now, on the safe side."""
    return now if decision.data_end is None else decision.data_end


def _windows(count: int, charter: Charter) -> str:
    return f"{count} {charter.monitoring.window}" + ("" if count == 1 else "s")
