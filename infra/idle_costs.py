"""What each type of resource costs while idle: the prices of idle_costs.toml, read and validated.

Usage is charged in addition: requests, seconds of compute, stored gigabytes.
"""

import datetime
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from shared.errors import ConfigurationError

FILE = Path(__file__).with_suffix(".toml")
Provider = Literal["aws", "azure", "gcp"]


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One price, of one or more types. The fields are documented in idle_costs.toml."""

    provider: Provider
    types: tuple[str, ...]
    usd: float
    unit: Literal["each a month"]
    free: int = 0
    why: str
    source: str
    seen: datetime.date


class Total(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The idle cost of one whole stack a month, with and without an account's free units."""

    provider: Provider
    usd: float
    usd_without_free: float


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The price list. A type that is not on it has an unknown cost, and no program may declare it."""

    total: tuple[Total, ...]
    price: tuple[Price, ...]

    def of(self, provider: str) -> dict[str, Price]:
        """Return type -> price of one provider."""
        return {type_: price for price in self.price if price.provider == provider for type_ in price.types}

    def cost(self, provider: str, counts: Mapping[str, int]) -> tuple[float, float]:
        """Return what so many resources of each type cost a month while idle, in US dollars: with and without the
        account's free units.

        Raises: KeyError: a type that is not on the list.
        """
        prices = self.of(provider)
        with_free = sum(prices[type_].usd * max(0, count - prices[type_].free) for type_, count in counts.items())
        return round(with_free, 2), round(sum(prices[type_].usd * count for type_, count in counts.items()), 2)


def read_prices(text: str) -> Prices:
    """Return the price list in `text`, TOML as in idle_costs.toml.

    Raises: ConfigurationError: a field is unknown, missing or of another type, a type has two prices, or a price above
        0 names no source.
    """
    try:
        prices = msgspec.convert(tomllib.loads(text), Prices)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{FILE.name}: {error}") from error
    for type_, count in Counter(type_ for price in prices.price for type_ in price.types).items():
        if count > 1:
            raise ConfigurationError(f"{FILE.name}: {type_} has {count} prices: keep one")
    for price in prices.price:
        if price.usd and not price.source:
            raise ConfigurationError(f"{FILE.name}: the price of {price.types[0]} has no source: name the page")
    return prices


def load() -> Prices:
    """Return the price list of this version."""
    return read_prices(FILE.read_text())
