"""A function that keeps what AWS hands it, in the folder of ECHO_FOLDER: so tests see events as they travel."""

import json
import os
import uuid
from pathlib import Path
from typing import Any


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Keep the event, and answer with nothing; a batch is a success."""
    folder = Path(os.environ["ECHO_FOLDER"])
    unfinished = folder / f"{uuid.uuid4().hex}.part"
    unfinished.write_text(json.dumps(event))
    unfinished.rename(unfinished.with_suffix(".json"))
    return {"statusCode": 200, "body": "kept", "batchItemFailures": []}
