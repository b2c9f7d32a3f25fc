"""Cloud Storage's JSON API: one request for each call.

This module replaces google-cloud-storage, except for signed URLs. As measured with version 3.17, that client fetches
the bucket's metadata in its own threads, which takes one more request and permission. It sends bodies above 8 MiB as
resumable uploads, while a conditional write needs one request. It also treats a missing bucket as a missing object.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from adapters.deadlines import Deadline
from adapters.gcp.failures import Call, lost, translating_errors
from adapters.gcp.sdk import session
from adapters.http_headers import is_complete
from adapters.write_id import WRITE_ID
from shared.errors import AlreadyExists, NotFound, TidegateError, Unavailable

HOST = "https://storage.googleapis.com"
PAGE = 1000
_CHUNK = 1 << 20
_OK = (200, 204, 206)
_WITH_CONTENT = 200
_MIN_TIMEOUT_S = 0.001
_PAST_THE_END = 416
_FIELDS = "name,size,generation,updated,metadata"


class Found(msgspec.Struct, frozen=True):
    """An object's metadata. Every write has a new `generation`."""

    name: str
    size_bytes: int
    generation: str
    updated: float
    write_id: str


class Page(msgspec.Struct, frozen=True):
    """A page of a listing. `token` requests the next page; "" after the last."""

    found: tuple[Found, ...]
    token: str


class Bucket:
    """One bucket. Every method sends one request, within `left_s`, and raises shared.errors only.

    A body of any size is sent in one multipart request, so that metadata, condition and body are one write.
    """

    def __init__(self, name: str, endpoint: str, http: Any = None) -> None:
        self.name = name
        self.endpoint = endpoint or HOST
        self._given = endpoint
        self._http = http
        self._bucket_seen = False

    def call(self, operation: str, resource: str, permission: str, *, repeatable: bool = True) -> Call:
        """Return the record of a call, for errors."""
        action = f"storage.objects.{permission} on gs://{self.name}"
        return Call(operation, resource, action, f"there is no object {resource}", repeatable)

    def head(self, name: str, call: Call, left_s: float) -> Found | None:
        """Return the object's metadata, None where there is no object. Raises: NotFound: no bucket."""
        try:
            return _found(self._send("GET", self._path(name), call, left_s, {"fields": _FIELDS}))
        except NotFound:
            self._check(call, left_s)
            return None

    def page(self, prefix: str, start: str, token: str, call: Call, left_s: float) -> Page:
        """Return the objects whose names begin with `prefix`, from `start` (included), in order of UTF-8 bytes."""
        query = {"prefix": prefix, "startOffset": start, "pageToken": token, "maxResults": str(PAGE)}
        params = {key: value for key, value in query.items() if value}
        try:
            answer = self._send(
                "GET",
                f"/storage/v1/b/{self.name}/o",
                call,
                left_s,
                {**params, "fields": f"nextPageToken,items({_FIELDS})"},
            )
        except NotFound as error:
            raise self._no_bucket(call) from error
        return Page(tuple(_found(item) for item in answer.get("items", ())), str(answer.get("nextPageToken", "")))

    def read(
        self, name: str, call: Call, deadline: Deadline, start: int = 0, length: int | None = None
    ) -> tuple[bytes, str]:
        """Return the stored bytes, or a part of them, and their generation, from one answer.

        Raises: NotFound; Unavailable: the bytes arrived incomplete or changed.
        """
        headers = {"Accept-Encoding": "gzip"}  # returns compressed objects as stored, which the digest is of
        if length is not None:
            headers["Range"] = f"bytes={start}-{start + length - 1}"
        chunks: list[bytes] = []
        try:
            with translating_errors(call):
                answer = self._session().request(
                    "GET",
                    self.endpoint + self._path(name),
                    params={"alt": "media"},
                    headers=headers,
                    timeout=_positive(deadline.left_s()),
                    stream=True,
                )
                with answer:
                    if answer.status_code == _PAST_THE_END:
                        return b"", str(answer.headers.get("X-Goog-Generation", ""))
                    _raise_refusal(answer, call)
                    for chunk in answer.raw.stream(_CHUNK, decode_content=False):
                        chunks.append(chunk)
                        deadline.check()
        except NotFound:
            self._check(call, deadline.left_s())
            raise
        self._bucket_seen = True
        body = b"".join(chunks)
        generation = str(answer.headers.get("X-Goog-Generation", ""))
        if not generation or not (length is not None or _matches_digest(body, answer.headers.get("X-Goog-Hash", ""))):
            raise call.error(Unavailable, "the object arrived cut short or changed: try again")
        return body, generation

    def write(self, name: str, body: bytes, call: Call, left_s: float, write_id: str = "") -> str:
        """Write the object and return its generation. With a `write_id`, create it only if it is absent.

        Raises: AlreadyExists: an object exists, and a `write_id` was given. NotFound: no bucket. OutcomeUnknown: the
            answer was lost, and `call` is not repeatable.
        """
        boundary = secrets.token_hex(16)
        described = {"name": name, "md5Hash": _md5(body), **({"metadata": {WRITE_ID: write_id}} if write_id else {})}
        payload = b"".join(
            (
                f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n".encode(),
                msgspec.json.encode(described),
                f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n".encode(),
                body,
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        params = {"uploadType": "multipart", "fields": "generation", **({"ifGenerationMatch": "0"} if write_id else {})}
        headers = {"Content-Type": f"multipart/related; boundary={boundary}"}
        path = f"/upload/storage/v1/b/{self.name}/o"
        try:
            return str(self._send("POST", path, call, left_s, params, payload, headers)["generation"])
        except NotFound as error:
            raise self._no_bucket(call) from error
        except KeyError as error:
            raise lost(call) from error

    def remove(self, name: str, call: Call, left_s: float) -> None:
        """Remove the object, if it is there. Raises: NotFound: no bucket."""
        try:
            self._send("DELETE", self._path(name), call, left_s, {})
        except NotFound:
            self._check(call, left_s)

    def _send(
        self,
        method: str,
        path: str,
        call: Call,
        left_s: float,
        params: Mapping[str, str],
        payload: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send one request and return the JSON of its answer."""
        from google.api_core.exceptions import PreconditionFailed

        with translating_errors(call):
            try:
                answer = self._session().request(
                    method,
                    self.endpoint + path,
                    params=params,
                    data=payload,
                    headers=headers,
                    timeout=_positive(left_s),
                )
                _raise_refusal(answer, call)
            except PreconditionFailed as error:
                raise call.error(AlreadyExists, "an object with this key is there") from error
        self._bucket_seen = True
        if answer.status_code == _WITH_CONTENT and not is_complete(answer.headers):
            raise lost(call)
        try:
            read = msgspec.json.decode(answer.content) if answer.content else {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise lost(call) from error
        return read if isinstance(read, dict) else {}

    def _check(self, call: Call, left_s: float) -> None:
        """Raises: NotFound: the bucket is missing. The service has one answer for a missing bucket and object."""
        if not self._bucket_seen:
            try:
                self.page("", "", "", call, left_s)
            except NotFound:
                raise
            except TidegateError:
                return  # listing is not allowed, or fails now: assume that the object is missing

    def _no_bucket(self, call: Call) -> NotFound:
        return call.error(
            NotFound,
            f"there is no bucket {self.name}: `gcloud storage buckets create gs://{self.name}` makes it, as `tidegate "
            "up` does",
        )

    def _path(self, name: str) -> str:
        return f"/storage/v1/b/{self.name}/o/{quote(name, safe='')}"

    def held_credentials(self) -> Any:
        """Return the credentials of this bucket's requests."""
        return self._session().credentials

    def _session(self) -> Any:
        return self._http if self._http is not None else session(self._given)


def _positive(left_s: float) -> float:
    """Return a timeout above 0, which the HTTP client requires; a deadline may have 0 s left."""
    return max(left_s, _MIN_TIMEOUT_S)


def _found(item: Mapping[str, Any]) -> Found:
    metadata = item.get("metadata", {})
    return Found(
        str(item["name"]),
        int(item["size"]),
        str(item["generation"]),
        datetime.fromisoformat(item["updated"]).timestamp(),
        str(metadata.get(WRITE_ID, "")),
    )


def _raise_refusal(answer: Any, call: Call) -> None:
    if answer.status_code not in _OK:
        if not is_complete(answer.headers):
            raise lost(call)  # the answer is incomplete, and its reason missing
        from google.api_core.exceptions import from_http_response

        raise from_http_response(answer)  # type: ignore[no-untyped-call]


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _matches_digest(body: bytes, hashes: str) -> bool:
    """Return whether the body has the digest of the header ("crc32c=...,md5=..."). Composed objects have no md5."""
    attributes = dict(each.strip().split("=", 1) for each in hashes.split(",") if "=" in each)
    if "md5" in attributes:
        return attributes["md5"] == _md5(body)
    if "crc32c" in attributes:
        import google_crc32c

        return attributes["crc32c"] == base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()
    return True
