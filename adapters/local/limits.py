"""Limits of one host's functions: those of the deployment, unless a file has others."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adapters.local.files import PROVIDER, Deadline, failure, make_folder, replace_file
from adapters.local.store import path_of
from shared.errors import IntegrityError, NotFound
from shared.ports import DEFAULT_TIMEOUT_S, FunctionLimits
from tidegate.arguments import check_limits


class LocalLimits:
    """The limits in the files of one folder, one for each function that differs from `deployed`."""

    def __init__(self, root: str | Path, deployed: Mapping[str, FunctionLimits]) -> None:
        self._root = Path(root)
        self._deployed = dict(deployed)

    def read(self, function: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> FunctionLimits:
        """Return the limits in force. Raises: NotFound; IntegrityError: the file cannot be read."""
        Deadline(timeout_s, "read", function)
        deployed = self._known("read", function)
        try:
            return msgspec.json.decode(self._path(function).read_bytes(), type=FunctionLimits)
        except FileNotFoundError:
            return deployed
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise IntegrityError(
                f"the limits of {function} cannot be read: set them again",
                provider=PROVIDER,
                operation="read",
                resource=function,
            ) from error
        except OSError as error:
            raise failure(error, "read", function) from error

    def set(self, function: str, limits: FunctionLimits, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Change them, durably. Raises: NotFound, InvalidInput."""
        check_limits(limits)
        Deadline(timeout_s, "set", function)
        self._known("set", function)
        try:
            make_folder(self._root)
            replace_file(self._path(function), msgspec.json.encode(limits))
        except OSError as error:
            raise failure(error, "set", function) from error

    def _known(self, operation: str, function: str) -> FunctionLimits:
        deployed = self._deployed.get(function)
        if deployed is None:
            raise NotFound(
                "no such function is deployed; shared/topology.py names those there are",
                provider=PROVIDER,
                operation=operation,
                resource=function[:80],
            )
        return deployed

    def _path(self, function: str) -> Path:
        return self._root / f"{function}.json"


def from_url(url: str, deployed: Mapping[str, FunctionLimits]) -> LocalLimits:
    """Return the limits in the folder of `file:///path`. Raises: ConfigurationError: not such a URL."""
    return LocalLimits(path_of(url), deployed)


if TYPE_CHECKING:
    from shared.ports import Limits

    _port: type[Limits] = LocalLimits
