"""The retraining policy: whether a request to train is granted, given the charter and earlier decisions.

It is a pure function of documents. Its time is the time of the data, so replaying the ledger gives the same decisions.
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
    """Return (whether a training is allowed, the reason with its figures).

    - No training is allowed with fewer windows of data than `training.minimum_windows`.
    - The first training is allowed for any cause.
    - After it, a cause must be in `retraining.on`, and the data must have advanced by `cooldown_days` since the last
      granted training. A person's request needs neither. "new_code" does not wait: the data did not change.
    - In 365 days of data at most `trainings_per_year` are granted, whatever the cause.
    Args:
        decisions: the earlier entries of the trainings ledger; refused ones do not count.
        data_end: end of the newest data, epoch s.
        windows_available: how many windows of `monitoring.window` have data.
    """
    rules = charter.retraining
    needed = charter.training.minimum_windows
    if windows_available < needed:
        return False, f"{_windows(windows_available, charter)} of data, training.minimum_windows is {needed}"
    granted = [_data_end(decision, data_end) for decision in decisions if decision.granted]
    if not granted:
        verb = "is" if windows_available == 1 else "are"
        return True, f"the first training: {_windows(windows_available, charter)} of data {verb} available"
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
    cause = "requested by a person" if person else f"{cause_kind}, {waited:.1f} days of data after the last training"
    return True, f"{cause}; {budget}"


def _data_end(decision: TrainingDecision, now: float) -> float:
    """Return the end of the data of a granted training; `now`, the strictest value, if it is not recorded."""
    return now if decision.data_end is None else decision.data_end


def _windows(count: int, charter: Charter) -> str:
    return f"{count} {charter.monitoring.window}" + ("" if count == 1 else "s")
