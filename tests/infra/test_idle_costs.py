"""No compute idles: every type that a program declares is on the list of what it costs while nothing happens."""

from collections import Counter
from collections.abc import Iterable

import pytest

from infra.idle_costs import COSTS, TOTALS_USD, total
from tests.infra.stand_in.base import Planned

CANARIES = {
    "aws": "aws:ec2/natGateway:NatGateway",
    "azure": "azure-native:cache:Redis",
    "gcp": "gcp:compute/instance:Instance",
}


def costs_what_it_says(provider: str, planned: Iterable[Planned]) -> None:
    """Fail on a type that is not listed, on one that is listed in vain, and on another total than is documented."""
    counts = Counter(each.type for each in planned)
    assert total(provider, dict(counts)) == TOTALS_USD[provider]
    assert {idle.type for idle in COSTS[provider]} - set(counts) == set()


@pytest.mark.parametrize("provider", COSTS)
def test_a_type_that_is_not_listed_fails(provider: str) -> None:
    with pytest.raises(KeyError, match=CANARIES[provider]):
        total(provider, {CANARIES[provider]: 1})
    types = [idle.type for idle in COSTS[provider]]
    assert len(types) == len(set(types))
    assert all(idle.source for idle in COSTS[provider] if idle.usd_month)
