"""The package that is installed: the command, and what other people's code may import of Tidegate.

A wheel carries the repository's folders (functions, shared, adapters, ...) in tidegate/_app. Only Tidegate's own
processes put that folder on their path, so that a user's own packages named `shared` or `cli` are never hidden.
"""
