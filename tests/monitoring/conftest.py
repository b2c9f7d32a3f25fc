"""A charter with two KPIs, for the tests of this folder."""

import pytest

from shared.usecase.charter import Charter, Features, Kpi, Payoff, Target


@pytest.fixture(scope="session")
def charter() -> Charter:
    return Charter(
        usecase="flights-late",
        problem="Passengers miss connections.",
        objective="Warn them.",
        owners={"business": "Ada"},
        sign_off=("business",),
        task="binary",
        target=Target(column="late"),
        time_column="scheduled_at",
        id_columns=("flight", "day"),
        features=Features(numeric=("hour", "wind"), categorical=("carrier",)),
        kpis=(
            Kpi(metric="roc_auc", at_least=0.7),
            Kpi(metric="accuracy", at_least=0.5, monitored=False),
            Kpi(metric="log_loss", at_most=0.6, gates=False),
        ),
        payoff=Payoff(true_positive=4.0),
    )
