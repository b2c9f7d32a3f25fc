"""Secrets of one host: files that only their owner can read. Files with wider permissions are refused."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.local.files import PROVIDER, Deadline, failure, make_folder, replace_file
from adapters.local.store import path_of
from shared.errors import NotFound, PermissionDenied
from shared.ports import DEFAULT_TIMEOUT_S
from tidegate.arguments import check_secret_name

_OTHERS = 0o077


class LocalSecrets:
    """The secrets in one private folder: each is a file with the secret's name, and its bytes are the value."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)

    def get(self, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return the file's current bytes. Of a link (mounted secrets are links), the target's permissions count.

        Raises: NotFound, InvalidInput; PermissionDenied: others can read the file or its folder, or we cannot.
        """
        check_secret_name(name)
        Deadline(timeout_s, "get", name)
        try:
            folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _refuse_others(folder, "the folder of secrets", "chmod 700 on it", name)
                fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            finally:
                os.close(folder)
            with os.fdopen(fd, "rb") as file:
                _refuse_others(file.fileno(), f"secret {name!r}", f"chmod 600 on the file {name}", name)
                return file.read()
        except FileNotFoundError as error:
            raise NotFound(
                f"there is no secret {name!r}: write it to a file of that name in the folder of secrets, chmod 600",
                provider=PROVIDER,
                operation="get",
                resource=name,
            ) from error
        except OSError as error:
            raise failure(error, "get", name) from error

    def put(self, name: str, value: bytes) -> None:
        """Set a secret's newest value, in a private file and folder. For the set-up of a stack; not part of the port.

        Raises: InvalidInput: bad name; PermissionDenied, Unavailable.
        """
        check_secret_name(name)
        try:
            make_folder(self._root)
            replace_file(self._root / name, value)
        except OSError as error:
            raise failure(error, "put", name) from error


def _refuse_others(fd: int, what: str, remedy: str, name: str) -> None:
    if stat.S_IMODE(os.fstat(fd).st_mode) & _OTHERS:
        raise PermissionDenied(
            f"{what} can be read by others than its owner: {remedy}, and renew the secret if they did",
            provider=PROVIDER,
            operation="get",
            resource=name,
        )


def from_url(url: str) -> LocalSecrets:
    """Return the secrets in the folder of `file:///path`. Raises: ConfigurationError: not such a URL."""
    return LocalSecrets(path_of(url))


if TYPE_CHECKING:
    from shared.ports import Secrets

    _port: type[Secrets] = LocalSecrets
