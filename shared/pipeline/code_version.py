"""The version of the pipeline's code: how models are trained, apart from the charter's choices and the libraries."""

PIPELINE_CODE_VERSION = "1"
"""Incremented when the same rows, charter and seed could give another model (split, encoding, search space, export).

Every PipelineVersion contains it, so a change of it is a new pipeline version.
"""
