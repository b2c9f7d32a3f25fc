"""Objects and queues in one SQLite file, `acme:///absolute/path`: a provider that Tidegate finds by its entry point."""

PORTS_VERSION = 1
"""Of tidegate.ports, as it was when this was written. A copy: the import of another's would always be equal."""
SCHEMES = {"store": ("acme",), "queue": ("acme",)}
