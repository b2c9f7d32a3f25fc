"""collect: captured predictions become capture files, one per message and named by it: written twice, the same."""

from shared import layout
from shared.events import Event, PredictionsCaptured, payload
from shared.platform import Outcome, Platform
from shared.registry.blob import create
from shared.serving.capture import decode_predictions, partition_of
from shared.serving.capture_files import to_arrow


def handle(event: Event, platform: Platform) -> Outcome:
    """Write the predictions that `event` (PredictionsCaptured) carries to the partition of the first one's time."""
    predictions = decode_predictions(bytes(payload(event, PredictionsCaptured).batch))
    if predictions:
        date, hour = partition_of(predictions[0].id)
        key = layout.PREDICTIONS.key(usecase=event.usecase, date=date, hour=hour, batch=event.id)
        create(platform.capture, key, to_arrow(predictions))
    return Outcome()
