"""Processes of Tidegate's own: how one is started, and how it finds Tidegate's packages.

A process is started by the path of this file, as `python own_process.py MODULE ARGUMENT...`. So neither the working
folder nor PYTHONPATH decides which packages it imports, and nothing of it is passed on to other programs.
"""

import runpy
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def command(module: str) -> list[str]:
    """Return the arguments that run a module of Tidegate in a new Python process; the module's own follow them.

    Args: module: for example "functions.runtimes.local.worker".
    """
    return [sys.executable, str(Path(__file__).resolve()), module]


def use_own_packages() -> None:
    """Let this process import Tidegate's packages before any others: from a wheel, or from a checkout."""
    app = _PACKAGE / "_app"  # a checkout has none: its folders lie beside this package
    sys.path.insert(0, str(app if app.is_dir() else _PACKAGE.parent))


def _run() -> None:
    _, module, *arguments = sys.argv
    if sys.path[0] == str(_PACKAGE):  # Python puts the file's folder there, whose modules are not top-level ones
        del sys.path[0]
    use_own_packages()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run()
