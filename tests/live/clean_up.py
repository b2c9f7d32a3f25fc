"""Removes what a killed live run left: `TIDEGATE_LIVE=aws uv run --group test python -m tests.live.clean_up`.

Removes whatever is called tidegate-live-NAME-... in the account, NAME being TIDEGATE_LIVE_NAME; with --list shows it.
"""

import os
import sys

import pytest

from tests.live.account import remove
from tests.live.chosen import cloud_of, read


def main(arguments: list[str]) -> int:
    """Return 0 where nothing is left, 1 where something could not be removed, 2 where too little was said."""
    if arguments not in ([], ["--list"]):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    try:
        found = read(os.environ)
    except pytest.UsageError as error:
        print(error, file=sys.stderr)
        return 2
    cloud = cloud_of(found)
    if arguments:
        print(*(what for what, _ in cloud.existing(found.prefix)), sep="\n")
        return 0
    removed, left = remove(cloud, found.prefix)
    print(*(f"removed {what}" for what in removed), *(f"LEFT {what}" for what in left), sep="\n")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
