"""What a simulation needs of a cloud: adapters through proxies, and a way behind them.

What goes "direct" crosses no proxy: the driver's own doing (a message released at once rather than after its lease),
what it must know to wait no longer than needed, and the checker's reads.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Literal, NamedTuple, Protocol

from adapters.urls import QueueEnds, open_store
from localstack.lossy_proxy import Exchange, LossyProxy, lossy_proxy
from shared.ports import ObjectStore

STORES = ("landing", "system", "capture")
LEASE_S = 1.0
"""The shortest lease of SQS and Azure: a message received by a lost response is visible again after it."""
WAIT_S = 0.1
SETTLE_S = 0.002
Refusals = Mapping[Literal["throttled", "busy"], bytes]
Refused = Mapping[LossyProxy, Refusals]
"""The proxies of a cloud, its store's before its queues', and how each says that it will not."""


class Opened(NamedTuple):
    """Adapters as one process has them: the stores and the queues by name."""

    stores: Mapping[str, ObjectStore]
    queues: Mapping[str, QueueEnds]


class Cloud(Protocol):
    """One provider's stores and queues, in a namespace of their own."""

    refused: Refused

    def opened(self, *, direct: bool) -> Opened:
        """Return new adapters, through the proxies or direct."""
        ...

    def held(self, name: str) -> int:
        """Return a queue's number of messages, those in flight included."""
        ...

    def has_visible(self, name: str) -> bool:
        """Return whether a queue has a visible message."""
        ...

    def dead(self, name: str) -> list[str]:
        """Return the ids of a queue's dead letters, as far as they can be seen now."""
        ...

    def wait(self) -> None:
        """Let a little time pass, so that leases end."""
        ...


Fresh = Callable[[], Cloud]


def open_stores(url: str) -> dict[str, ObjectStore]:
    """Return a store for each name in the place of STORE."""
    return {name: open_store(url.replace("STORE", name)) for name in STORES}


@contextmanager
def proxies(*before: tuple[str, Refusals, type[Exchange]]) -> Iterator[Refused]:
    """Run a proxy before each: (host:port, how it says no, how it speaks)."""
    with ExitStack() as stack:
        yield {
            stack.enter_context(lossy_proxy(upstream, exchange=exchange, settle_s=SETTLE_S)): refusals
            for upstream, refusals, exchange in before
        }
