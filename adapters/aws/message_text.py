"""Encodes bytes as text for AWS: plain text stays as it is, anything else becomes base64 with a prefix.

SQS and the parameter store allow only some characters. Code that gets messages without the adapter (a function that SQS
calls) decodes them with `bytes_of`.
"""

import base64
import binascii
import re

MARK = "base64:"
_REFUSED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")  # a carriage return may come back as a line feed


def text_of(body: bytes) -> str:
    """Return the text that encodes these bytes.

    >>> text_of(b'{"a": 1}'), text_of(b"\\x00"), text_of(b"base64:")
    ('{"a": 1}', 'base64:AA==', 'base64:YmFzZTY0Og==')
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = MARK
    if text.startswith(MARK) or _REFUSED.search(text):
        return MARK + base64.b64encode(body).decode()
    return text


def bytes_of(text: str) -> bytes:
    """Return the bytes that a text encodes. Text with the prefix that is not base64 is returned as UTF-8.

    >>> bytes_of("base64:AA=="), bytes_of("base64:!")
    (b'\\x00', b'base64:!')
    """
    if text.startswith(MARK):
        try:
            return base64.b64decode(text[len(MARK) :], validate=True)
        except (binascii.Error, ValueError):  # ValueError: it holds characters that are not ASCII
            pass
    return text.encode(errors="surrogatepass")


def fits_bytes(limit: int) -> int:
    """Return how many arbitrary bytes fit into a text of `limit` bytes.

    >>> fits_bytes(1 << 20)
    786426
    """
    return (limit - len(MARK)) // 4 * 3
