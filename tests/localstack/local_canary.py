"""A function that tries to import what is local to one host."""

import importlib
from typing import Any

LOCAL = ("adapters.local.store", "adapters.memory.store", "functions.runtimes.local.home")


def could_import() -> list[str]:
    """Return which of LOCAL could be imported."""
    done = []
    for name in LOCAL:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if "for one host" not in str(error):
                raise
        else:
            done.append(name)
    return done


def handler(event: Any, context: Any) -> list[str]:
    return could_import()


if __name__ == "__main__":
    print(could_import())
