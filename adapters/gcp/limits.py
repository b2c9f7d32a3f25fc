"""Limits on Google Cloud: memory and concurrency are properties of a function's revision, and change by deployment."""

from collections.abc import Mapping

from adapters.fixed_limits import FixedLimits
from adapters.gcp.sdk import PROVIDER, place_of
from shared.ports import FunctionLimits

_REMEDY = (
    "memory and concurrency are set when a function is deployed here: change them in infra/ (the stack's settings) and "
    "run `tidegate up`"
)


def from_url(url: str, deployed: Mapping[str, FunctionLimits]) -> FixedLimits:
    """Return the limits of `cloudfunctions://PROJECT[/REGION]`. Raises: ConfigurationError: not such a URL."""
    place_of(url, "cloudfunctions://PROJECT[/REGION]", (0, 1))
    return FixedLimits(PROVIDER, _REMEDY)
