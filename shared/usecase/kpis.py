"""KPI bounds: their text, and whether a value meets them. Gates, monitoring and messages share these functions."""

from shared.errors import ConfigurationError
from shared.usecase.charter import Kpi


def bound_of(kpi: Kpi) -> tuple[str, float]:
    """Return a KPI's bound as ("at least" or "at most", the value).

    Raises: ConfigurationError: not exactly one of at_least and at_most is set.

    >>> bound_of(Kpi(metric="log_loss", at_most=0.5))
    ('at most', 0.5)
    """
    if kpi.at_least is not None and kpi.at_most is None:
        return "at least", kpi.at_least
    if kpi.at_most is not None and kpi.at_least is None:
        return "at most", kpi.at_most
    raise ConfigurationError(f"the KPI {kpi.metric} needs exactly one bound: set at_least or at_most in the charter")


def is_met(kpi: Kpi, value: float) -> bool:
    """Return whether a value meets the KPI's bound (inclusive). Raises: as `bound_of`.

    >>> is_met(Kpi(metric="roc_auc", at_least=0.7), 0.7)
    True
    """
    side, target = bound_of(kpi)
    return value >= target if side == "at least" else value <= target
