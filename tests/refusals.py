"""How services say no over HTTP, as bytes that a lossy proxy answers with; each ends its connection."""

import json


def answer(status: str, body: bytes, *headers: str) -> bytes:
    """Return an answer. Args: status: with its reason, "503 Busy". headers: more of them, whole lines."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def xml(status: str, code: str, said: str = "none", *headers: str) -> bytes:
    """Return how S3 and Azure Storage say no."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{said}</Message></Error>"
    return answer(status, body.encode(), "Content-Type: application/xml", *headers)


def sqs(status: str, code: str, said: str = "none") -> bytes:
    """Return how SQS says no."""
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": said})
    return answer(status, body.encode(), "Content-Type: application/x-amz-json-1.0")


def google(status: str, said: str = "none", reason: str = "", *headers: str) -> bytes:
    """Return how Cloud Storage says no."""
    code = int(status.partition(" ")[0])
    body = {"error": {"code": code, "message": said, "errors": [{"reason": reason, "message": said}]}}
    return answer(status, json.dumps(body).encode(), "Content-Type: application/json", *headers)
