"""Why `register` refused a result: kept beside it, so that the refusal is final and can be read."""

from typing import ClassVar

from shared.documents import Document


class Refusal(Document, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A result that will not become a model, and why."""

    FORMAT: ClassVar[tuple[str, int]] = ("refusal", 1)

    usecase: str
    key: str
    reason: str
