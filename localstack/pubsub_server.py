"""Serve the Pub/Sub emulator `cloudbox` on a Python older than the 3.14 that it asks for: gRPC and REST, loopback only.

It runs inside the emulator's own environment: python pubsub_server.py GRPC_PORT REST_PORT. The emulator counts on
annotations being evaluated late (PEP 649); compiling its modules under PEP 563 gives it that.
"""

import __future__

import asyncio
import importlib.machinery
import sys
from types import CodeType
from typing import Any


class LateAnnotations(importlib.machinery.SourceFileLoader):
    """The ordinary loader, except that the emulator's modules are compiled with late annotations."""

    def source_to_code(  # type: ignore[override]
        self, data: Any, path: Any, *, _optimize: int = -1
    ) -> CodeType:
        """Return the module's code, compiled late where the module is the emulator's."""
        late = __future__.annotations.compiler_flag if "/cloudbox/" in str(path) else 0
        code = compile(data, path, "exec", flags=late, dont_inherit=True, optimize=_optimize)
        assert isinstance(code, CodeType)
        return code


async def serve(grpc_port: int, rest_port: int) -> None:
    """Serve both protocols until the process is ended."""
    import uvicorn
    from cloudbox.services.pubsub.app import app
    from cloudbox.services.pubsub.grpc_server import create_server

    grpc_server = await create_server("127.0.0.1", grpc_port)
    await grpc_server.start()
    await uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=rest_port, log_level="warning")).serve()
    await grpc_server.stop(0)


if __name__ == "__main__":
    # No bytecode is read or written: it might have been compiled without the flag.
    sys.dont_write_bytecode = True
    sys.pycache_prefix = "/nonexistent"
    suffixes = (LateAnnotations, importlib.machinery.SOURCE_SUFFIXES)
    hook = importlib.machinery.FileFinder.path_hook(
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES), suffixes
    )
    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
