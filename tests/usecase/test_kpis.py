"""A KPI's bound, and whether a value meets it."""

import pytest

from shared.errors import ConfigurationError
from shared.usecase.charter import Kpi
from shared.usecase.kpis import bound_of, is_met


def test_both_directions_include_the_bound() -> None:
    least, most = Kpi(metric="roc_auc", at_least=0.7), Kpi(metric="log_loss", at_most=0.5)
    assert (bound_of(least), bound_of(most)) == (("at least", 0.7), ("at most", 0.5))
    assert [is_met(least, value) for value in (0.69, 0.7, 0.71)] == [False, True, True]
    assert [is_met(most, value) for value in (0.49, 0.5, 0.51)] == [True, True, False]


@pytest.mark.parametrize("kpi", [Kpi(metric="roc_auc"), Kpi(metric="roc_auc", at_least=0.1, at_most=0.9)])
def test_a_kpi_without_exactly_one_bound_is_a_configuration_error(kpi: Kpi) -> None:
    with pytest.raises(ConfigurationError, match="exactly one bound"):
        bound_of(kpi)
