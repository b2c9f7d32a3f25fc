"""Whether an HTTP answer came whole: Python's HTTP clients take one that broke off in its headers for a whole one with
an empty body, and the AWS SDK one that broke off in its body for a whole one, too.
"""

from collections.abc import Mapping


def is_whole(headers: Mapping[str, str], body: bytes = b"", *, sized: bool = False) -> bool:
    """Return whether the headers say where the body ends, as a whole answer's do.

    Args: sized: whether `body` is all that came and must be as long as the headers say (not so after HEAD).

    >>> is_whole({"Content-Length": "12"}), is_whole({"Content-Length": ""}), is_whole({"ETag": "1"})
    (True, False, False)
    >>> is_whole({"Content-Length": "3"}, b"ab", sized=True)
    False
    """
    told = {name.lower(): value.strip().lower() for name, value in headers.items()}
    length = told.get("content-length", "")
    if not length.isdecimal():
        return told.get("transfer-encoding", "") == "chunked"
    return not sized or len(body) >= int(length)
