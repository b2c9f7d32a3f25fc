"""First calls of cold functions that do their work, over S3 and SQS on the AWS emulator; else as aws_cold_start.

    uv run python -m benchmarks.aws_first_calls [ROUNDS]

Compare `cpu`: `wall` includes the emulator, which takes 5 to 50 ms for a request. The stack comes from the simulation
(tests/simulation): two months of data, a champion, predictions and labels.
"""

import functools
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import msgspec

from benchmarks.aws_cold_start import DATA, EMPTY, MAIN, REGION, SERVE, STORES, Case, answered, bases, measure, settings
from functions.runtimes.environment import FUNCTION, SETTINGS
from localstack import emulators
from localstack.installation import installed
from shared.documents import encode
from shared.events import WindowDue, first_event
from shared.registry.signatures import generate, key_id_of, public_of, public_text
from shared.serving.access import issue
from shared.settings import Settings, Stores
from shared.topology import queue_names
from tests.simulation.material import TRUST_ROOTS, USECASE, csv, rows
from tests.simulation.scenario import STEPS, begin
from tests.simulation.world import World

EPISODES = (
    *("upload of January", "upload of February, first training"),
    *("predictions, first batch", "predictions, second batch", "labels"),
)
WINDOW = "2013-03"
LOGS = "/measured"
TOKENS = generate(bytes(range(32, 64)))
ACCOUNT = {"AWS_ACCESS_KEY_ID": "111122223333", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}
PREDICTION: dict[str, Any] = {
    "inputs": [
        {"name": "level", "datatype": "FP32", "shape": [1], "data": [0.4]},
        {"name": "wind", "datatype": "FP32", "shape": [1], "data": [-0.2]},
        {"name": "moon", "datatype": "BYTES", "shape": [1], "data": ["full"]},
    ]
}


class Stack:
    """The stack on an emulated account. Every round has a number, so that its events and files are new."""

    def __init__(self, world: World, endpoint: str) -> None:
        def client(service: Any) -> Any:
            return boto3.client(
                service,
                region_name=REGION,
                endpoint_url=endpoint,
                aws_access_key_id=ACCOUNT["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=ACCOUNT["AWS_SECRET_ACCESS_KEY"],
            )

        self._s3, sqs = client("s3"), client("sqs")
        for name in STORES:
            self._s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
            for key, stored in getattr(world, name)._objects.items():
                self._s3.put_object(Bucket=name, Key=key, Body=stored.body)
        client("logs").create_log_group(logGroupName=LOGS)
        for name in queue_names():
            sqs.create_queue(QueueName=f"t-{name}")
        self.settings = _settings(endpoint)
        token = issue(
            private_pem=TOKENS,
            issuer=self.settings.issuer,
            audience=self.settings.audience,
            subject="measured",
            scopes=[f"{USECASE}:infer", f"{USECASE}:upload"],
            now=time.time(),
            lifetime_s=24 * 3600.0,
        )
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def cases(self, number: int) -> dict[str, Case]:
        """Return a round's cases, after writing the objects that they need."""
        key = f"drops/{USECASE}/{number}.csv"
        self._s3.put_object(Bucket="landing", Key=key, Body=csv(rows("2013-02", 120 + number)))
        for evaluated in self._s3.list_objects_v2(Bucket="system", Prefix="windows/").get("Contents", []):
            self._s3.delete_object(Bucket="system", Key=evaluated["Key"])
        due = first_event(WindowDue(window=WINDOW), usecase=USECASE, source="/benchmark", origin=str(number), at=0.0)
        tick = {"schedule": f"tick {number}", "time": "2026-01-01T00:00:00Z"}
        infer = self._request("POST", f"/v2/models/{USECASE}/infer", msgspec.json.encode(PREDICTION).decode())
        new = ",".join(str(number) for _ in range(3))
        return {
            **bases(),
            "infer: lives": self._case("infer", self._request("GET", "/v2/health/live"), SERVE),
            "infer: is ready": self._case("infer", self._request("GET", "/v2/health/ready"), SERVE),
            "infer: a prediction": self._case("infer", infer, SERVE),
            "validate: nothing": self._case("validate", EMPTY, DATA),
            "validate: a file": self._case("validate", _written(key), DATA),
            "validate: the same again": self._case("validate", _written(key), DATA),
            "monitor: a schedule": self._case("monitor", tick, DATA),
            "monitor: a window": self._case("monitor", _batch(encode(due).decode()), DATA),
            "uploads: a file": self._case(
                "uploads", self._request("PUT", f"/v1/usecases/{USECASE}/uploads/{number}.csv", new), "nothing"
            ),
        }

    def _case(self, name: str, event: Any, base: str) -> Case:
        environment = {SETTINGS: encode(self.settings).decode(), FUNCTION: name, **ACCOUNT}
        return Case(MAIN, environment, event, lambda answer: answer is None or answered(answer), base)

    def _request(self, method: str, path: str, body: str = "") -> Mapping[str, Any]:
        http = {"version": "2.0", "rawPath": path, "requestContext": {"http": {"method": method}}}
        return {**http, "headers": self._headers, "body": body}


@functools.cache
def world() -> World:
    """Return the simulated world whose stores are copied. Training its champion takes some seconds."""
    made = begin()
    for name in EPISODES:
        STEPS[name](made)
        made.rest()
    return made


def _settings(endpoint: str) -> Settings:
    where = f"endpoint={endpoint}"
    return settings(
        stores=Stores(**{name: f"s3://{name}?region={REGION}&{where}" for name in STORES}),
        queues=f"sqs://{REGION}/t-?{where}",
        metrics=f"cloudwatch://{REGION}/tidegate?log_group={LOGS}&{where}",
        trust_roots={key: public_text(public) for key, public in TRUST_ROOTS.items()},
        token_keys={key_id_of(TOKENS): public_text(public_of(TOKENS))},
    )


def _written(key: str) -> Mapping[str, Any]:
    s3 = {"bucket": {"name": "landing"}, "object": {"key": key}}
    event = {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]}
    return _batch(msgspec.json.encode(event).decode())


def _batch(body: str) -> Mapping[str, Any]:
    return {"Records": [{"messageId": "m", "eventSource": "aws:sqs", "body": body, "attributes": {}}]}


def main(rounds: int) -> None:
    """Measure first calls on a new stack."""
    with emulators.aws(installed(names=("aws",))) as running:
        stack = Stack(world(), running.url)

        def numbered() -> Iterator[dict[str, Case]]:
            for number in range(rounds):
                yield stack.cases(number)

        measure(numbered())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
