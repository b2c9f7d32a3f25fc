"""Limits on Azure: memory and concurrency are the function app's, for all its functions, and change by deployment."""

from collections.abc import Mapping

from adapters.addresses import read_address
from adapters.azure.failures import PROVIDER
from adapters.fixed_limits import FixedLimits
from shared.ports import FunctionLimits

FORM = "functionapp://APP"
_REMEDY = (
    "on Azure memory and concurrency belong to the function app, not to a function: change the instance memory and the "
    "HTTP concurrency of its group in shared/topology.py and deploy (tidegate up)"
)


def from_url(url: str, deployed: Mapping[str, FunctionLimits]) -> FixedLimits:
    """Return the limits of `functionapp://APP`. Raises: ConfigurationError: not such a URL."""
    read_address(url, FORM)
    return FixedLimits(PROVIDER, _REMEDY)
