"""Serves one function as functions-framework's command does, with an access log.

    python -m localstack.gcp_host_process SOURCE TARGET SIGNATURE_TYPE PORT ACCESS_LOG

The log has one line a request, with the status first; invocations are counted from it. Requests that never reach the
function (/robots.txt, /favicon.ico) are in it too, as 404.
"""

import importlib
import sys

ACCESS_FORMAT = "%(s)s %(m)s %(U)s"


def main(source: str, target: str, signature_type: str, port: int, access_log: str) -> None:
    """Serve until the process ends."""
    framework = importlib.import_module("functions_framework")
    http = importlib.import_module("functions_framework._http")
    app = framework.create_app(target, source, signature_type)
    server = http.create_server(app, False, accesslog=access_log, access_log_format=ACCESS_FORMAT)
    server.run("127.0.0.1", port)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
