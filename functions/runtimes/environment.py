"""The environment variables of a cloud's runtimes. The deployment sets them; only this module reads them.

TIDEGATE_SETTINGS   the stack's settings, as one JSON document (shared.settings)
TIDEGATE_FUNCTION   the name of the deployment's function; for several, their names separated by commas
TIDEGATE_EVENT      a job's event, in base64
TIDEGATE_TIMEOUT_S  a job's time limit in seconds, if its platform sets none
TIDEGATE_EXECUTION  the name of a job's execution, if its platform gives none
TIDEGATE_ADDRESS    the URL of the stack for clients, if it is not the platform's own name
"""

import base64
import binascii
import math
from collections.abc import Mapping

from shared.errors import ConfigurationError
from shared.settings import Settings, read_settings
from shared.topology import Function, function_named

SETTINGS = "TIDEGATE_SETTINGS"
FUNCTION = "TIDEGATE_FUNCTION"
EVENT = "TIDEGATE_EVENT"
TIMEOUT = "TIDEGATE_TIMEOUT_S"
ADDRESS = "TIDEGATE_ADDRESS"
_EXECUTIONS = ("TIDEGATE_EXECUTION", "CLOUD_RUN_EXECUTION", "CONTAINER_APP_JOB_EXECUTION_NAME")
"""Variables that name a job's execution. The name stays the same when the platform restarts the job."""


def settings_of(environ: Mapping[str, str]) -> Settings:
    """Return the stack's settings. Raises: ConfigurationError: not set or invalid; it names the key."""
    return read_settings(_value(environ, SETTINGS, "the stack's settings as JSON").encode())


def function_of(environ: Mapping[str, str]) -> Function:
    """Return the one function of this process. Raises: ConfigurationError: not set, or no such function."""
    return function_named(_value(environ, FUNCTION, "the function's name"))


def functions_of(environ: Mapping[str, str]) -> tuple[Function, ...]:
    """Return the functions of this process. Raises: ConfigurationError: not set, or no such function."""
    return tuple(function_named(name.strip()) for name in _value(environ, FUNCTION, "functions' names").split(","))


def event_of(environ: Mapping[str, str]) -> bytes:
    """Return a job's event. Raises: ConfigurationError: not set, or not base64."""
    try:
        return base64.b64decode(_value(environ, EVENT, "an event in base64"), validate=True)
    except binascii.Error as error:
        raise ConfigurationError(f"{EVENT} is not base64: encode the event's JSON") from error


def limit_of(environ: Mapping[str, str]) -> float | None:
    """Return a job's time limit in seconds, None for no limit. Raises: ConfigurationError: not a number above 0."""
    text = environ.get(TIMEOUT, "")
    if not text:
        return None
    try:
        limit_s = float(text)
    except ValueError:
        limit_s = 0.0
    if not 0 < limit_s < math.inf:
        raise ConfigurationError(f"{TIMEOUT} is {text[:40]!r}: set it to a number of seconds above 0")
    return limit_s


def execution_of(environ: Mapping[str, str], otherwise: str) -> str:
    """Return the name of a job's execution, which stays the same when the platform restarts the job."""
    return next((environ[name] for name in _EXECUTIONS if environ.get(name)), otherwise)


def _value(environ: Mapping[str, str], name: str, what: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise ConfigurationError(f"the environment has no {name}: set it to {what}")
    return value
