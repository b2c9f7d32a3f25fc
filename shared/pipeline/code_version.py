"""The version of the way we train, apart from the charter's choices and the libraries."""

PIPELINE_CODE_VERSION = "1"
"""Raised whenever the same rows, charter and seed could give another model: split, encoding, search space, export.

It stands in every PipelineVersion, so that a change of it is a new pipeline version, which monitoring may ask for.
"""
