"""Objects and queues in one SQLite file, `acme:///absolute/path`: a provider that Tidegate finds by its entry point."""

PORTS_VERSION = 1
"""The version of tidegate.ports that this provider was made for: a copy, since an imported value is always equal."""
SCHEMES = {"store": ("acme",), "queue": ("acme",)}
