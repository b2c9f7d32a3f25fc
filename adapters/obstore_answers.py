"""Reads status, code and text of an HTTP answer out of the message of an obstore error.

Adapters show status and code only, since the text holds addresses.
"""

import re

import msgspec

_STATUS = re.compile(r"non-2xx status code: (\d{3})|\(code: (\d{3})\)")
_CODE = re.compile(r"<Code>([\w.]+)</Code>|\(code: (\w*[A-Za-z]\w*)\)")
_DEBUG = "\n\nDebug source:"
_NO_CONNECTION = "kind: Connect,"
_PAST_THE_END = "Wanted range starting at"


class Answer(msgspec.Struct, frozen=True):
    """An answer as an obstore error describes it.

    Args:
        kind: the name of the exception's type: "AlreadyExistsError", "FileNotFoundError", "GenericError", ...
        status: the HTTP status, 0 where no answer came.
        code: the store's error code ("BlobNotFound"), "" where it sent none. Answers to HEAD have none.
        text: the whole message. It is matched, never shown.
        sent: False where no connection was made, so that certainly nothing was done.
    """

    kind: str
    status: int
    code: str
    text: str
    sent: bool


def answer_of(error: BaseException) -> Answer:
    """Return the answer that an obstore error describes.

    >>> answer_of(Exception("Server returned non-2xx status code: 409 Conflict: <Code>BlobAlreadyExists</Code>")).code
    'BlobAlreadyExists'
    """
    whole = str(error)
    text = whole.partition(_DEBUG)[0]
    status, code = _STATUS.search(text), _CODE.search(text)
    return Answer(
        kind=type(error).__name__,
        status=int(status[1] or status[2]) if status else 0,
        code=str(code[1] or code[2]) if code else "",
        text=text,
        sent=_NO_CONNECTION not in whole,
    )


def begins_past_the_end(answer: Answer) -> bool:
    """Return whether the requested range begins at or after the object's end."""
    return answer.status == 416 or _PAST_THE_END in answer.text
