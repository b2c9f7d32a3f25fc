"""Cloud Storage's JSON interface: one request per call, nothing sent behind our backs.

Measured against google-cloud-storage 3.17, which this stands in for: that client fetches a bucket's metadata in
threads of its own (a request and a permission that nobody asked for), sends bodies above 8 MiB as resumable uploads
(several requests, where one decides), and takes a missing bucket for a missing object. Its signing is used as it is.
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
from adapters.gcp.refusals import Operation, lost, refusing
from adapters.gcp.sdk import session
from adapters.http_headers import is_whole
from adapters.write_id import WRITE_ID
from shared.errors import AlreadyExists, NotFound, TidegateError, Unavailable

HOST = "https://storage.googleapis.com"
PAGE = 1000
_CHUNK = 1 << 20
_OK = (200, 204, 206)
_WITH_CONTENT = 200
_LEAST_S = 0.001
_PAST_THE_END = 416
_FIELDS = "name,size,generation,updated,metadata"


class Found(msgspec.Struct, frozen=True):
    """An object's metadata; `generation` is new with every write."""

    name: str
    size_bytes: int
    generation: str
    updated: float
    write_id: str


class Page(msgspec.Struct, frozen=True):
    """A part of a listing; `token` asks for the next one, "" after the last."""

    found: tuple[Found, ...]
    token: str


class Bucket:
    """One bucket. Every method sends one request, within `left_s`, and raises shared.errors only.

    A body is sent whole in one multipart request, whatever its size: metadata, condition and bytes are judged together.
    """

    def __init__(self, name: str, endpoint: str, http: Any = None) -> None:
        self.name = name
        self.endpoint = endpoint or HOST
        self._given = endpoint
        self._http = http
        self._stands = False

    def act(self, operation: str, resource: str, permission: str, *, repeatable: bool = True) -> Operation:
        """Return how errors name this call."""
        needs = f"storage.objects.{permission} on gs://{self.name}"
        return Operation(operation, resource, needs, f"there is no object {resource}", repeatable)

    def look(self, name: str, act: Operation, left_s: float) -> Found | None:
        """Return the object's metadata, None where there is no object. Raises: NotFound: no bucket."""
        try:
            return _found(self._asked("GET", self._path(name), act, left_s, {"fields": _FIELDS}))
        except NotFound:
            self._check(act, left_s)
            return None

    def page(self, prefix: str, start: str, token: str, act: Operation, left_s: float) -> Page:
        """Return names that begin with `prefix`, from `start` on (itself included), in order of UTF-8 bytes."""
        asked = {"prefix": prefix, "startOffset": start, "pageToken": token, "maxResults": str(PAGE)}
        params = {key: value for key, value in asked.items() if value}
        try:
            answer = self._asked(
                "GET",
                f"/storage/v1/b/{self.name}/o",
                act,
                left_s,
                {**params, "fields": f"nextPageToken,items({_FIELDS})"},
            )
        except NotFound as error:
            raise self._no_bucket(act) from error
        return Page(tuple(_found(item) for item in answer.get("items", ())), str(answer.get("nextPageToken", "")))

    def read(
        self, name: str, act: Operation, deadline: Deadline, start: int = 0, length: int | None = None
    ) -> tuple[bytes, str]:
        """Return the bytes that are stored (or a part of them) and their generation, from one answer.

        Raises: NotFound; Unavailable: they arrived cut short or changed.
        """
        headers = {"Accept-Encoding": "gzip"}  # stored compressed, they are given as stored: the digest is of that
        if length is not None:
            headers["Range"] = f"bytes={start}-{start + length - 1}"
        chunks: list[bytes] = []
        try:
            with refusing(act):
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
                    _raise_refusal(answer, act)
                    for chunk in answer.raw.stream(_CHUNK, decode_content=False):
                        chunks.append(chunk)
                        deadline.check()
        except NotFound:
            self._check(act, deadline.left_s())
            raise
        self._stands = True
        body = b"".join(chunks)
        generation = str(answer.headers.get("X-Goog-Generation", ""))
        if not generation or not (length is not None or _is_whole(body, answer.headers.get("X-Goog-Hash", ""))):
            raise act.error(Unavailable, "the object arrived cut short or changed: try again")
        return body, generation

    def write(self, name: str, body: bytes, act: Operation, left_s: float, write_id: str = "") -> str:
        """Write the object and return its generation; with a `write_id`, only where there is none.

        Raises: AlreadyExists: an object stands there, and a `write_id` was given. NotFound: no bucket. OutcomeUnknown:
            the answer was lost, and `act` is not repeatable.
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
            return str(self._asked("POST", path, act, left_s, params, payload, headers)["generation"])
        except NotFound as error:
            raise self._no_bucket(act) from error
        except KeyError as error:
            raise lost(act) from error

    def remove(self, name: str, act: Operation, left_s: float) -> None:
        """Remove the object, if it is there. Raises: NotFound: no bucket."""
        try:
            self._asked("DELETE", self._path(name), act, left_s, {})
        except NotFound:
            self._check(act, left_s)

    def _asked(
        self,
        method: str,
        path: str,
        act: Operation,
        left_s: float,
        params: Mapping[str, str],
        payload: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send one request, and return its answer's JSON."""
        from google.api_core.exceptions import PreconditionFailed

        with refusing(act):
            try:
                answer = self._session().request(
                    method,
                    self.endpoint + path,
                    params=params,
                    data=payload,
                    headers=headers,
                    timeout=_positive(left_s),
                )
                _raise_refusal(answer, act)
            except PreconditionFailed as error:
                raise act.error(AlreadyExists, "an object with this key is there") from error
        self._stands = True
        if answer.status_code == _WITH_CONTENT and not is_whole(answer.headers):
            raise lost(act)
        try:
            read = msgspec.json.decode(answer.content) if answer.content else {}
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise lost(act) from error
        return read if isinstance(read, dict) else {}

    def _check(self, act: Operation, left_s: float) -> None:
        """Tell a missing bucket from a missing object: the service answers both alike. Raises: NotFound: no bucket."""
        if not self._stands:
            try:
                self.page("", "", "", act, left_s)
            except NotFound:
                raise
            except TidegateError:
                return  # it may not be listed, or not now: the answer we have must do

    def _no_bucket(self, act: Operation) -> NotFound:
        return act.error(
            NotFound,
            f"there is no bucket {self.name}: `gcloud storage buckets create gs://{self.name}` makes it, as `tidegate "
            "up` does",
        )

    def _path(self, name: str) -> str:
        return f"/storage/v1/b/{self.name}/o/{quote(name, safe='')}"

    def held_credentials(self) -> Any:
        """Return the credentials that this bucket is asked with."""
        return self._session().credentials

    def _session(self) -> Any:
        return self._http if self._http is not None else session(self._given)


def _positive(left_s: float) -> float:
    """Return what the HTTP client takes for a timeout: it refuses none at all, which a deadline may have come to."""
    return max(left_s, _LEAST_S)


def _found(item: Mapping[str, Any]) -> Found:
    metadata = item.get("metadata", {})
    return Found(
        str(item["name"]),
        int(item["size"]),
        str(item["generation"]),
        datetime.fromisoformat(item["updated"]).timestamp(),
        str(metadata.get(WRITE_ID, "")),
    )


def _raise_refusal(answer: Any, act: Operation) -> None:
    if answer.status_code not in _OK:
        if not is_whole(answer.headers):
            raise lost(act)  # it broke off before it said why
        from google.api_core.exceptions import from_http_response

        raise from_http_response(answer)  # type: ignore[no-untyped-call]


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _is_whole(body: bytes, hashes: str) -> bool:
    """Return whether the bytes have the digest of the header ("crc32c=...,md5=..."); composed objects lack an md5."""
    told = dict(each.strip().split("=", 1) for each in hashes.split(",") if "=" in each)
    if "md5" in told:
        return told["md5"] == _md5(body)
    if "crc32c" in told:
        import google_crc32c

        return told["crc32c"] == base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()
    return True
