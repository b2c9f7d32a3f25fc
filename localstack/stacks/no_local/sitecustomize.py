"""Makes imports of local adapters and runtimes fail, in each Python that starts with this folder on its path."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

_LOCAL = ("adapters.local", "adapters.memory", "functions.runtimes.local")


class _Refusal(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.startswith(_LOCAL):
            raise ImportError(f"{fullname} is for one host, and this process runs on a cloud")
        return None


sys.meta_path.insert(0, _Refusal())
