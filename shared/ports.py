"""The ports, under the name that this repository's own code imports. They are defined in tidegate/ports.py."""

from tidegate.ports import *  # noqa: F403 - every public name, and nothing else
