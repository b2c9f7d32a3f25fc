"""Idle costs: a price list with sources and dates, and no type of resource that is not on it."""

from collections import Counter
from collections.abc import Iterable

import pytest

from infra.idle_costs import load, read_prices
from shared.errors import ConfigurationError
from tests.infra.stand_in.base import Planned

VALID = """
[[total]]
provider = "aws"
usd = 1.0
usd_without_free = 3.0

[[price]]
provider = "aws"
types = ["aws:cloudwatch/dashboard:Dashboard", "aws:x/y:Z"]
usd = 0.5
unit = "each a month"
free = 3
why = "One dashboard."
source = "Pricing page"
seen = 2026-11-27
"""


def check_costs(provider: str, planned: Iterable[Planned]) -> None:
    """Fail if a declared type has no price, a price is of no declared type, or the documented total is another."""
    prices = load()
    counts = Counter(each.type for each in planned)
    assert set(counts) == set(prices.of(provider))
    (total,) = [each for each in prices.total if each.provider == provider]
    assert prices.cost(provider, counts) == (total.usd, total.usd_without_free)


def test_free_units_are_taken_off_and_a_type_without_a_price_is_refused() -> None:
    prices = read_prices(VALID)
    assert prices.cost("aws", {"aws:cloudwatch/dashboard:Dashboard": 5, "aws:x/y:Z": 2}) == (1.0, 3.5)
    with pytest.raises(KeyError, match="NatGateway"):
        prices.cost("aws", {"aws:ec2/natGateway:NatGateway": 1})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seen = 2026-11-27", "", "missing required field `seen` - at `$.price[0]`"),
        ("\nfree = 3", "\nshare = 3", "unknown field `share`"),
        ("usd = 0.5", 'usd = "0.5"', "Expected `float`, got `str` - at `$.price[0].usd`"),
        ("each a month", "an hour", "Invalid enum value 'an hour'"),
        ('source = "Pricing page"', 'source = ""', "the price of aws:cloudwatch/dashboard:Dashboard has no source"),
        ("aws:x/y:Z", "aws:cloudwatch/dashboard:Dashboard", "Dashboard has 2 prices"),
        ("[[price]]", "[[price", "idle_costs.toml"),
    ],
)
def test_an_invalid_price_list_is_refused(old: str, new: str, message: str) -> None:
    assert old in VALID
    with pytest.raises(ConfigurationError) as refused:
        read_prices(VALID.replace(old, new, 1))
    assert message in refused.value.message
