"""collect: write captured predictions to capture files, one file per message.

A file is named by the digest of its predictions, so a redelivered message writes the same file. It is not named by the
event: a client's retry is the same request and may be answered by another model, and then both answers are kept.
"""

from shared import layout
from shared.documents import digest_of, hex_of
from shared.events import Event, PredictionsCaptured, payload
from shared.platform import Outcome, Platform
from shared.registry.blob import create
from shared.serving.capture import decode_predictions, partition_of
from shared.serving.capture_files import to_arrow


def handle(event: Event, platform: Platform) -> Outcome:
    """Write the predictions of `event` (PredictionsCaptured) to the partition of the first one's time."""
    body = bytes(payload(event, PredictionsCaptured).batch)
    predictions = decode_predictions(body)
    if predictions:
        date, hour = partition_of(predictions[0].id)
        key = layout.PREDICTIONS.key(usecase=event.usecase, date=date, hour=hour, batch=hex_of(digest_of(body)))
        create(platform.capture, key, to_arrow(predictions))
    return Outcome()
