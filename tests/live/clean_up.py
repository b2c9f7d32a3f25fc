"""Removes what a killed live run left: `TIDEGATE_LIVE=aws uv run --group test python -m tests.live.clean_up`.

Removes all resources named tidegate-live-NAME-... in the account, where NAME is TIDEGATE_LIVE_NAME. --list only lists
them.
"""

import os
import sys

import pytest

from tests.live.account import remove
from tests.live.selected import cloud_of, read


def main(arguments: list[str]) -> int:
    """Return 0 where nothing is left, 1 where a resource could not be removed, 2 for missing or invalid settings."""
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
        print(*(what for what, _ in cloud.existing(found.owner_prefix)), sep="\n")
        return 0
    removed, left = remove(cloud, found.owner_prefix)
    print(*(f"removed {what}" for what in removed), *(f"LEFT {what}" for what in left), sep="\n")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
