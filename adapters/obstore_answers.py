"""What obstore's errors tell: it puts an answer's status, code and text into a message, and this reads them out.

An adapter shows of these only status and code: the text holds addresses.
"""

import re

import msgspec

_STATUS = re.compile(r"non-2xx status code: (\d{3})|\(code: (\d{3})\)")
_CODE = re.compile(r"<Code>([\w.]+)</Code>|\(code: (\w*[A-Za-z]\w*)\)")
_DEBUG = "\n\nDebug source:"
_NO_CONNECTION = "kind: Connect,"
_PAST_THE_END = "Wanted range starting at"


class Answer(msgspec.Struct, frozen=True):
    """What an error tells.

    Args:
        kind: the name of the exception's type: "AlreadyExistsError", "FileNotFoundError", "GenericError", ...
        status: of HTTP, 0 where no answer came. code: the store's own ("BlobNotFound"), "" where it gave none: an
            answer to HEAD never has one.
        text: all of the message, to be read, not shown.
        sent: False where no connection was made: then certainly nothing was done.
    """

    kind: str
    status: int
    code: str
    text: str
    sent: bool


def answer_of(error: BaseException) -> Answer:
    """Return what an error of obstore tells.

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
    """Return whether a range was asked for that begins at or behind the object's end."""
    return answer.status == 416 or _PAST_THE_END in answer.text
