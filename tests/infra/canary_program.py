"""A program with one invalid resource, to be refused: `python -m tests.infra.canary_program TYPE INPUTS`."""

import json
import sys

import pulumi

from infra.engine import open_stack
from shared.errors import TidegateError


def main(token: str, inputs: str) -> int:
    def program() -> None:
        pulumi.CustomResource(token, "canary", json.loads(inputs))

    try:
        open_stack("canary", {}, lambda line: None, program=program).preview()
    except TidegateError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
