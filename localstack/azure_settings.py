"""The Functions host's configuration: an app's host.json and its settings (environment variables)."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROUTE_PART = re.compile(r"\{(?P<rest>\*?)(?P<name>\w+)(?::[^}?]*)?(?P<optional>\??)\}")
KNOWN_TRIGGERS = frozenset({"httpTrigger", "queueTrigger", "timerTrigger"})


class NotEmulated(ValueError):
    """The app needs something that this host does not implement; the message names it."""


@dataclass(frozen=True)
class HostSettings:
    """The supported part of host.json, with the service's defaults (Microsoft Learn, functions-host-json)."""

    route_prefix: str = "api"
    timeout_s: float = 300.0
    max_dequeues: int = 5
    retry_after_s: int = 0
    batch: int = 16
    base64: bool = True


def host_settings(folder: Path) -> HostSettings:
    """Return the settings of an app's folder. Raises: NotEmulated, or what reading JSON raises."""
    document = json.loads((folder / "host.json").read_text())
    queues = document.get("extensions", {}).get("queues", {})
    encoding = queues.get("messageEncoding", "base64")
    if encoding not in ("base64", "none"):
        raise NotEmulated(f"host.json: messageEncoding {encoding!r}")
    return HostSettings(
        route_prefix=document.get("extensions", {}).get("http", {}).get("routePrefix", "api").strip("/"),
        timeout_s=_seconds(document.get("functionTimeout", "00:05:00")),
        max_dequeues=int(queues.get("maxDequeueCount", 5)),
        retry_after_s=int(_seconds(queues.get("visibilityTimeout", "00:00:00"))),
        batch=int(queues.get("batchSize", 16)),
        base64=encoding == "base64",
    )


def resolved(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return a binding's text with each %SETTING% replaced by that setting. Raises: NotEmulated: it is not set."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise NotEmulated(f"the app setting {found[1]} is not set")
        return environ[found[1]]

    return re.sub("%([^%]+)%", value, text)


def connection(binding: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> str:
    """Return the connection string that a trigger names. Raises: NotEmulated: none; identities are unsupported."""
    name = binding.get("connection") or "AzureWebJobsStorage"
    found = environ.get(name) or environ.get(f"AzureWebJobs{name}")
    if not found:
        raise NotEmulated(
            f"the app setting {name} is not set to a connection string; the emulator does not support identities"
        )
    return found


def route_pattern(prefix: str, template: str) -> re.Pattern[str]:
    """Return a pattern of a route's paths: {name}, {name:constraint} (not checked), {name?} and {*rest}.

    >>> route_pattern("api", "a/{b}/{*c}").fullmatch("/api/a/1/x/y").groupdict()
    {'b': '1', 'c': 'x/y'}
    """
    pattern, at = "/" + (re.escape(prefix) + "/" if prefix else ""), 0
    template = template.strip("/")
    for part in _ROUTE_PART.finditer(template):
        literal = re.escape(template[at : part.start()])
        inner = f"(?P<{part['name']}>{'.*' if part['rest'] else '[^/]+'})"
        if part["optional"] and literal.endswith("/"):
            pattern += f"{literal[:-1]}(?:/{inner})?"
        else:
            pattern += literal + inner
        at = part.end()
    return re.compile(pattern + re.escape(template[at:]) + "/?", re.IGNORECASE | re.DOTALL)


def _seconds(text: str) -> float:
    """Return a .NET time span ([d.]hh:mm:ss) in seconds; -1 means no limit."""
    if text == "-1":
        return float("inf")
    hours, minutes, seconds = text.split(":")
    days, _, hours = hours.rpartition(".")
    return int(days or 0) * 86_400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
