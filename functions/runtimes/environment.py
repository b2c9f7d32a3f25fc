"""What a cloud's runtimes are told by the environment of their process; set by the deployment, read here only.

TIDEGATE_SETTINGS   the stack's settings, as one JSON document (shared.settings)
TIDEGATE_FUNCTION   which function this deployment is; where it hosts several, their names with commas
TIDEGATE_EVENT      a job's event, in base64
TIDEGATE_TIMEOUT_S  how long a job may take, where its platform sets no limit of its own
TIDEGATE_EXECUTION  names a job's execution, where its platform does not
TIDEGATE_ADDRESS    where clients reach the stack, for links to it; set it where the platform's own name is not the one
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
"""What names a job that is started again after a failure: the same each time."""


def settings_of(environ: Mapping[str, str]) -> Settings:
    """Return the stack's settings. Raises: ConfigurationError: not set, or wrong; it names the key."""
    return read_settings(_value(environ, SETTINGS, "the stack's settings as JSON").encode())


def function_of(environ: Mapping[str, str]) -> Function:
    """Return the one function that this process is. Raises: ConfigurationError: not set, or no such function."""
    return function_named(_value(environ, FUNCTION, "the function's name"))


def functions_of(environ: Mapping[str, str]) -> tuple[Function, ...]:
    """Return the functions that this process hosts. Raises: ConfigurationError: not set, or no such function."""
    return tuple(function_named(name.strip()) for name in _value(environ, FUNCTION, "functions' names").split(","))


def event_of(environ: Mapping[str, str]) -> bytes:
    """Return a job's event. Raises: ConfigurationError: not set, or not base64."""
    try:
        return base64.b64decode(_value(environ, EVENT, "an event in base64"), validate=True)
    except binascii.Error as error:
        raise ConfigurationError(f"{EVENT} is not base64: encode the event's JSON") from error


def limit_of(environ: Mapping[str, str]) -> float | None:
    """Return how many seconds a job may take, None for any. Raises: ConfigurationError: not a number above 0."""
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
    """Return the name of this execution of a job, the same where the platform starts it again."""
    return next((environ[name] for name in _EXECUTIONS if environ.get(name)), otherwise)


def _value(environ: Mapping[str, str], name: str, what: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise ConfigurationError(f"the environment has no {name}: set it to {what}")
    return value
