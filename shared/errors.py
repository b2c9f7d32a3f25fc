"""The errors, under the name that this repository's own code imports. They are defined in tidegate/errors.py."""

from tidegate.errors import *  # noqa: F403 - every public name, and nothing else
