"""Limits of AWS Lambda functions: memory, and reserved concurrency. `lambda://[REGION]/PREFIX?endpoint=`.

A function named `infer` is PREFIXinfer there. Lambda takes some seconds to change memory, and `set` waits for it.
"""

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adapters.aws.failures import PROVIDER, Call
from adapters.aws.sdk import Caller, Clients, read_place
from adapters.deadlines import Deadline
from shared.errors import DeadlineExceeded, InvalidInput, NotFound, OutcomeUnknown, TidegateError
from shared.ports import DEFAULT_TIMEOUT_S, FunctionLimits
from tidegate.arguments import check_limits

FORM = "lambda://[REGION]/PREFIX?endpoint="
MEMORY_MB = (128, 10_240)
_NAME = re.compile("[A-Za-z0-9_-]{1,64}")
_POLL_S = 0.25


class LambdaLimits:
    """The limits of the functions whose names begin with a prefix."""

    def __init__(self, clients: Clients, prefix: str = "") -> None:
        self._caller = Caller(clients, "lambda")
        self._prefix = prefix

    def read(self, function: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> FunctionLimits:
        """Return the limits in force. Without a reservation, concurrency is the account's unreserved concurrency."""
        deadline = Deadline(timeout_s, PROVIDER, "read", function)
        memory_mb = int(self._configuration("read", function, deadline)["MemorySize"])
        name = self._prefix + function
        call = self._call("read", function, "lambda:GetFunctionConcurrency", reads=True)
        found = self._caller.send(
            call, deadline.left_s(), lambda client: client.get_function_concurrency(FunctionName=name)
        )
        if "ReservedConcurrentExecutions" in found:
            return FunctionLimits(memory_mb, int(found["ReservedConcurrentExecutions"]))
        account = self._caller.send(
            self._call("read", function, "lambda:GetAccountSettings", reads=True),
            deadline.left_s(),
            lambda client: client.get_account_settings(),
        )
        return FunctionLimits(memory_mb, int(account["AccountLimit"]["UnreservedConcurrentExecutions"]))

    def set(self, function: str, limits: FunctionLimits, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Change the memory, wait until the change is complete, then reserve the concurrency.

        Raises: NotFound; InvalidInput: not positive, memory outside 128 to 10,240 MiB, or more concurrency than the
            account may reserve. OutcomeUnknown: the change has started and is not complete.
        """
        check_limits(limits)
        deadline = Deadline(timeout_s, PROVIDER, "set", function)
        existing = self._configuration("set", function, deadline)
        low, high = MEMORY_MB
        if not low <= limits.memory_mb <= high:
            raise InvalidInput(
                f"memory_mb is {limits.memory_mb}: Lambda takes {low} to {high}",
                field="memory_mb",
                got=str(limits.memory_mb),
                expected=f"{low} to {high}",
            )
        name = self._prefix + function
        if existing["MemorySize"] != limits.memory_mb:
            self._caller.send(
                self._call("set", function, "lambda:UpdateFunctionConfiguration"),
                deadline.left_s(),
                lambda client: client.update_function_configuration(FunctionName=name, MemorySize=limits.memory_mb),
            )
        try:
            self._wait_for(limits.memory_mb, function, deadline)
            self._caller.send(
                self._call("set", function, "lambda:PutFunctionConcurrency"),
                deadline.left_s(),
                lambda client: client.put_function_concurrency(
                    FunctionName=name, ReservedConcurrentExecutions=limits.concurrency
                ),
            )
        except DeadlineExceeded as error:
            raise OutcomeUnknown(
                "the change has started, and was not complete in time: set the limits again",
                provider=PROVIDER,
                operation="set",
                resource=function,
            ) from error

    def _wait_for(self, memory_mb: int, function: str, deadline: Deadline) -> None:
        while True:
            found = self._configuration("set", function, deadline)
            if found["MemorySize"] == memory_mb and found.get("LastUpdateStatus", "Successful") == "Successful":
                return
            if found.get("LastUpdateStatus") == "Failed":
                raise TidegateError(
                    f"Lambda could not change it ({found.get('LastUpdateStatusReasonCode', 'no reason given')})",
                    provider=PROVIDER,
                    operation="set",
                    resource=function,
                )
            time.sleep(min(_POLL_S, deadline.left_s()))

    def _configuration(self, operation: str, function: str, deadline: Deadline) -> Any:
        if not _NAME.fullmatch(self._prefix + function) or not function:
            raise NotFound(
                "no such function is deployed: that cannot be a function's name",
                provider=PROVIDER,
                operation=operation,
                resource=function[:80],
            )
        name = self._prefix + function
        call = self._call(operation, function, "lambda:GetFunctionConfiguration", reads=True)
        return self._caller.send(
            call, deadline.left_s(), lambda client: client.get_function_configuration(FunctionName=name)
        )

    def _call(self, operation: str, function: str, action: str, *, reads: bool = False) -> Call:
        remedy = (
            f"no function {self._prefix + function!r} is deployed in this account and region; tidegate up makes it "
            "(aws lambda list-functions shows those there are)"
        )
        return Call(operation, function, action, remedy, repeatable=True, reads=reads)


def from_url(url: str, deployed: Mapping[str, FunctionLimits]) -> LambdaLimits:
    """Return the limits of `lambda://[REGION]/PREFIX`; Lambda itself has the deployed limits.

    Raises: ConfigurationError: not such a URL.
    """
    place, address = read_place(url, FORM)
    return LambdaLimits(Clients(place), address.path)


if TYPE_CHECKING:
    from shared.ports import Limits

    _port: type[Limits] = LambdaLimits
