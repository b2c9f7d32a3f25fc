"""Fixtures of every test: the emulators."""

pytest_plugins = ["tests.emulated"]
