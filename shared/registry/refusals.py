"""Refusals: why `register` did not make a model of a training result. Stored beside the result, and final."""

from typing import ClassVar

from shared.documents import Document


class Refusal(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A training result that does not become a model version, and the reason. `key` is the training key."""

    FORMAT: ClassVar[tuple[str, int]] = ("refusal", 1)

    usecase: str
    key: str
    reason: str
