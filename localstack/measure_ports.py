"""Try the ports' hardest clauses on three clouds' protocols: start the emulators, measure, print, end everything.

    uv run --no-project python -m localstack.emulators install .emulators      (once; needs npm)
    uv run --no-project --with "obstore>=0.12,<0.13" --with boto3 --with azure-storage-blob --with azure-storage-queue \
      --with google-cloud-storage --with google-cloud-pubsub --with requests \
      python -m localstack.measure_ports --emulators .emulators

`--only aws,azure,gcp` chooses clouds, `--json` prints every finding as one document. It ends with 1 where something
that the design stands on was broken (one winner, whole objects, settlement by reading back, nothing lost).
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from localstack import emulators, measure_events, measure_objects, measure_queues, stores
from localstack.emulators import Running
from localstack.findings import Finding, table
from localstack.lossy_proxy import lossy_proxy
from localstack.queues import PROJECT, AzureQueue, MeasuredQueue, PubSub, Sqs
from localstack.stores import S3, Azure, Gcs, Store


def aws(folder: Path) -> Iterator[Finding]:
    """Measure S3, SQS, and events from one to the other."""
    with emulators.aws(folder) as running:
        yield from _objects(S3, running)
        yield from _queues(Sqs, running, running.host_port)
        yield from measure_events.aws_events(S3(running.host_port, running.host_port), Sqs(running))


def azure(folder: Path) -> Iterator[Finding]:
    """Measure blobs and storage queues; events go by Event Grid, which has no emulator."""
    with emulators.azure(folder) as running:
        yield from _objects(Azure, running)
        yield from _queues(AzureQueue, running, running.queue_host_port)
        yield Finding("event: one for every object", "azure", "info", "not measured: Event Grid has no emulator")


def gcp(folder: Path) -> Iterator[Finding]:
    """Measure Cloud Storage, Pub/Sub, and events from one to the other."""
    with emulators.pubsub(folder) as broker:
        yield from _queues(PubSub, broker, broker.host_port, marker=measure_queues.LOST_BODY.encode())
        queue = PubSub(broker)
        topic = queue.topic.rpartition("/")[2]
        project = PROJECT.partition("/")[2]
        with emulators.gcs(folder, events=broker, project=project, topic=topic) as running:
            stores.create_bucket("gcs", running)
            yield from measure_events.gcp_events(Gcs(running.host_port, running.host_port), queue)
    with emulators.gcs(folder) as running:
        yield from _objects(Gcs, running)


CLOUDS = {"aws": aws, "azure": azure, "gcp": gcp}


def _objects(kind: type[S3] | type[Azure] | type[Gcs], running: Running) -> Iterator[Finding]:
    stores.create_bucket(kind.provider, running)
    direct: Store = kind(running.host_port, running.host_port)
    yield from measure_objects.race(direct)
    with lossy_proxy(running.host_port) as proxy:
        yield from measure_objects.lost_answers(partial(kind, proxy.host_port, running.host_port), proxy, direct)
    yield from measure_objects.etags(direct)
    yield from measure_objects.listing(direct)
    yield from measure_objects.keys(direct)


def _queues(
    kind: type[Sqs] | type[AzureQueue] | type[PubSub], running: Running, upstream: str, *, marker: bytes = b""
) -> Iterator[Finding]:
    make: Callable[..., MeasuredQueue] = partial(kind, running)
    yield from measure_queues.measure(make)
    with lossy_proxy(upstream, marker=marker) as proxy:
        yield from measure_queues.lost_sends(make, proxy)


def main() -> int:
    """Measure the clouds asked for and return the exit code."""
    parser = argparse.ArgumentParser(description="Try the ports' hardest clauses on three clouds' protocols.")
    parser.add_argument("--emulators", type=Path, required=True, help="the folder that they were installed in")
    parser.add_argument("--only", default=",".join(CLOUDS), help="clouds, separated by commas")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(CLOUDS):
        parser.error(f"--only knows {', '.join(CLOUDS)}, not {', '.join(sorted(unknown))}")
    # Told to stop, it still ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    findings: list[Finding] = []
    for name in chosen:
        began = time.monotonic()
        findings += CLOUDS[name](arguments.emulators.resolve())
        print(f"{name}: measured in {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(json.dumps([asdict(each) for each in findings], indent=2) if arguments.json else table(findings))
    return int(any(each.validation == "broken" for each in findings))


if __name__ == "__main__":
    raise SystemExit(main())
