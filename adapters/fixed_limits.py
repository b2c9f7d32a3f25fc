"""The Limits port where memory and concurrency are part of the deployment (Azure, Google Cloud).

To change them, a function would need the right to deploy anything. So both operations are Unsupported.
"""

from typing import TYPE_CHECKING, NoReturn

from shared.errors import Unsupported
from shared.ports import DEFAULT_TIMEOUT_S, FunctionLimits
from tidegate.arguments import check_limits, check_timeout


class FixedLimits:
    """Limits that can be neither read nor changed. Args: remedy: where they are set, for the error."""

    def __init__(self, provider: str, remedy: str) -> None:
        self._provider = provider
        self._remedy = remedy

    def read(self, function: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> FunctionLimits:
        """Raises: Unsupported, always."""
        self._refuse("read", function, timeout_s)

    def set(self, function: str, limits: FunctionLimits, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Raises: Unsupported, always; InvalidInput: not positive."""
        check_limits(limits)
        self._refuse("set", function, timeout_s)

    def _refuse(self, operation: str, function: str, timeout_s: float) -> NoReturn:
        resource = function[:80]
        check_timeout(timeout_s, operation, resource, self._provider)
        raise Unsupported(self._remedy, provider=self._provider, operation=operation, resource=resource)


if TYPE_CHECKING:
    from shared.ports import Limits

    _port: type[Limits] = FixedLimits
