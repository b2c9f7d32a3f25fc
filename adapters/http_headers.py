"""Detects incomplete HTTP answers.

Python's HTTP clients treat an answer that breaks off in its headers as complete, with an empty body. The AWS SDK also
treats an answer that breaks off in its body as complete.
"""

from collections.abc import Mapping


def is_complete(headers: Mapping[str, str], body: bytes = b"", *, sized: bool = False) -> bool:
    """Return whether the headers are complete: they say where the body ends.

    Args: sized: also compare the length of `body` with the headers. Not for answers to HEAD.

    >>> is_complete({"Content-Length": "12"}), is_complete({"Content-Length": ""}), is_complete({"ETag": "1"})
    (True, False, False)
    >>> is_complete({"Content-Length": "3"}, b"ab", sized=True)
    False
    """
    fields = {name.lower(): value.strip().lower() for name, value in headers.items()}
    length = fields.get("content-length", "")
    if not length.isdecimal():
        return fields.get("transfer-encoding", "") == "chunked"
    return not sized or len(body) >= int(length)
