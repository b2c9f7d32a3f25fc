"""An answer that breaks off at any byte is never taken for another answer.

Half a JSON object, headers without their end, a length without its digits: the SDKs take some of them for whole.
"""

import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from adapters.urls import QueueEnds
from localstack.lossy_proxy import Fate
from shared.errors import OutcomeUnknown, Unsupported
from shared.ports import Created, Exists, Message
from tests.simulation_clouds.clouds import Cloud, Fresh

CUTS = 40
LEASE_S = 300.0
BODY = b"body" * 20


def _broken(cloud: Cloud, part: float) -> None:
    """Break off the first answer that comes from now on."""
    fates = itertools.chain([Fate("part", part)], itertools.repeat(Fate("none")))
    for proxy in cloud.refused:
        proxy.decide = lambda data: next(fates)


def _mend(cloud: Cloud) -> None:
    for proxy in cloud.refused:
        proxy.decide = None


def test_of_a_store(fresh: Fresh) -> None:
    cloud = fresh()
    store = cloud.opened(direct=False).stores["system"]
    store.put("k", BODY)
    new = (f"new/{number}" for number in itertools.count())
    operations: list[tuple[Callable[[], Any], Callable[[Any], bool]]] = [
        (lambda: store.get("k").body, lambda found: found == BODY),
        (lambda: store.get_range("k", 0, 5), lambda found: found == BODY[:5]),
        (lambda: store.head("k"), lambda found: found is not None and found.size_bytes == len(BODY)),
        (lambda: store.head("none"), lambda found: found is None),
        (lambda: store.put_new(next(new), b"1"), lambda found: isinstance(found, Created)),
        (lambda: store.put_new("k", b"1"), lambda found: isinstance(found, Exists)),
        (lambda: store.put("other", b"1"), bool),
        (lambda: [info.key for info in store.list("k")], lambda found: found == ["k"]),
        (lambda: store.delete("none"), lambda found: found is None),
    ]
    for number, (act, right) in enumerate(operations):
        for cut in range(CUTS):
            _broken(cloud, (cut + number / len(operations)) / CUTS)
            assert right(act()), (number, cut)
    _mend(cloud)


def test_of_a_queue(fresh: Fresh) -> None:
    cloud = fresh()
    queues, direct = (cloud.opened(direct=way).queues for way in (False, True))
    for queue in queues.values():
        _emptied(queue)  # its address is known from now on
    direct["release"].send(b"the only one")
    for cut in range(CUTS):
        part = cut / CUTS
        for send in (lambda: queues["validate"].send(b"1"), lambda: queues["validate"].send_many([b"1"])):
            _broken(cloud, part)
            with pytest.raises(OutcomeUnknown):
                send()
        acknowledged = _lent(direct["trigger"]).receipt_handle
        for _ in range(2):  # the second time there is nothing to acknowledge
            _broken(cloud, part)
            queues["trigger"].ack(acknowledged)
        _broken(cloud, part)
        with suppress(OutcomeUnknown):  # Azure's new receipt handle was in what did not come
            assert "None" not in str(
                queues["register"].change_visibility(_lent(direct["register"]).receipt_handle, LEASE_S)
            )
        _broken(cloud, part)
        with suppress(Unsupported):
            assert queues["release"].depth()[0] == 1, cut
        direct["collect"].send_many([b"2", b"2"])
        _broken(cloud, part)
        assert len(queues["collect"].receive(1, LEASE_S)) == 1, cut  # the other is in flight without a receiver
    _mend(cloud)
    # None was sent twice. A few never went: gRPC may find only then that its connection is gone.
    assert CUTS < cloud.held("validate") <= 2 * CUTS
    assert cloud.held("trigger") == 0


def _emptied(queue: QueueEnds) -> None:
    queue.send(b"0")
    for message in queue.receive(1, LEASE_S):
        queue.ack(message.receipt_handle)


def _lent(queue: QueueEnds) -> Message:
    queue.send(b"1")
    (message,) = queue.receive(1, LEASE_S)
    return message
