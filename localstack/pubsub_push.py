"""Pub/Sub's push, which the emulator lacks: it pulls a message, POSTs it to a function and acknowledges after a 2xx.

    with push(broker, "projects/p/subscriptions/s", infer.url) as subscription: ...

Other messages are released at once: the emulator counts the attempt, delivers the message again, and moves it to the
dead-letter topic after max_delivery_attempts. Unlike the service, there is no delay between attempts and no OIDC token
in the request. Sources of both formats: cloud.google.com/pubsub/docs/push, /eventarc/docs/cloudevents.
"""

import json
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from localstack.emulators import Running

PUBLISHED = "google.cloud.pubsub.topic.v1.messagePublished"
_MOST = 10
_LEAST_PAUSE_S, _MOST_PAUSE_S = 0.05, 0.5
_CALL_TIMEOUT_S = 10.0


class PushSubscription:
    """Pushes one subscription's messages to one URL. `counts`: "acknowledged" and "released"."""

    def __init__(
        self, broker: Running, subscription: str, address: str, *, as_cloudevent: bool, topic: str, timeout_s: int
    ) -> None:
        self._api = f"{broker.queue_url}/v1/{subscription}"
        self._subscription = subscription
        self._address = address
        self._as_cloudevent = as_cloudevent
        self._topic = topic
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.counts: Counter[str] = Counter({"acknowledged": 0, "released": 0})

    def run(self) -> None:
        """Pull and push until stopped; finish the current messages."""
        pause_s = _LEAST_PAUSE_S
        with ThreadPoolExecutor(_MOST) as pool:
            while not self.stopping.is_set():
                try:
                    answer = self._call("pull", {"maxMessages": _MOST, "returnImmediately": True})
                    found = answer.get("receivedMessages", [])
                    for each in [pool.submit(self._deliver, received) for received in found]:
                        each.result()
                except OSError:  # the emulator does not answer
                    found = []
                pause_s = _LEAST_PAUSE_S if found else min(2 * pause_s, _MOST_PAUSE_S)
                if not found:
                    self.stopping.wait(pause_s)

    def _deliver(self, received: dict[str, Any]) -> None:
        lease = {"ackIds": [received["ackId"]]}
        self._call("modifyAckDeadline", {**lease, "ackDeadlineSeconds": min(600, self._timeout_s + 10)})
        taken = self._post(received)
        if taken:
            self._call("acknowledge", lease)
        else:
            self._call("modifyAckDeadline", {**lease, "ackDeadlineSeconds": 0})
        with self._lock:
            self.counts["acknowledged" if taken else "released"] += 1

    def _post(self, received: dict[str, Any]) -> bool:
        headers, body = envelope(received, self._subscription, self._topic if self._as_cloudevent else "")
        request = urllib.request.Request(self._address, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def _call(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self._api}:{verb}", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_CALL_TIMEOUT_S) as answer:
            found: dict[str, Any] = json.loads(answer.read() or b"{}")
            return found


def envelope(received: dict[str, Any], subscription: str, topic: str = "") -> tuple[dict[str, str], bytes]:
    """Return the headers and body that the service sends for a pulled message.

    Args: received: from `pull`. topic: "projects/P/topics/T" for a binary CloudEvent, as Eventarc sends.
    """
    message = dict(received["message"])
    message["message_id"] = message.get("messageId", "")
    message["publish_time"] = message.get("publishTime", "")
    document: dict[str, Any] = {"message": message, "subscription": subscription}
    headers = {"Content-Type": "application/json"}
    if topic:
        headers |= {
            "ce-specversion": "1.0",
            "ce-id": message["message_id"],
            "ce-type": PUBLISHED,
            "ce-source": f"//pubsub.googleapis.com/{topic}",
            "ce-time": message["publish_time"],
        }
    if received.get("deliveryAttempt"):
        document["deliveryAttempt"] = received["deliveryAttempt"]
    return headers, json.dumps(document).encode()


@contextmanager
def push(
    broker: Running,
    subscription: str,
    address: str,
    *,
    as_cloudevent: bool = False,
    topic: str = "",
    timeout_s: int = 60,
) -> Iterator[PushSubscription]:
    """Push a subscription's messages to a URL until the block ends.

    Args: broker: the Pub/Sub emulator. subscription: "projects/P/subscriptions/S". as_cloudevent: as Eventarc does;
        needs the topic. timeout_s: how long a response may take.
    """
    pushed = PushSubscription(
        broker, subscription, address, as_cloudevent=as_cloudevent, topic=topic, timeout_s=timeout_s
    )
    thread = threading.Thread(target=pushed.run, name=f"push {subscription}", daemon=True)
    thread.start()
    try:
        yield pushed
    finally:
        pushed.stopping.set()
        thread.join(timeout_s + _CALL_TIMEOUT_S)
