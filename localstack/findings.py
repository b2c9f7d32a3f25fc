"""What a measurement found: one line each, printed as a table or as JSON."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

ValidationReport = Literal["holds", "differs", "broken", "info"]


@dataclass(frozen=True)
class Finding:
    """One clause on one provider.

    `holds`: as the port says. `differs`: the provider cannot give that, so the port must allow for it. `broken`: what
    the design stands on was violated. `info`: a figure to know.
    """

    clause: str
    provider: str
    validation: ValidationReport
    measured: str


def judge(clause: str, provider: str, good: bool, measured: str, *, must: bool = False) -> Finding:
    """Return a finding that holds, or else differs; a `must` that does not hold is broken."""
    return Finding(clause, provider, "holds" if good else "broken" if must else "differs", measured)


def table(findings: Iterable[Finding]) -> str:
    """Return the findings as aligned text, in the order given."""
    rows = [("clause", "on", "validation", "measured")]
    rows += [(each.clause, each.provider, each.validation, each.measured) for each in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join("  ".join([*(row[i].ljust(widths[i]) for i in range(3)), row[3]]) for row in rows)


def attempt(call: Callable[[], Any]) -> str:
    """Return "ok" or the name of what was raised, with the provider's code where it has one."""
    try:
        call()
    except Exception as error:
        # Every SDK has its own tree of exceptions; which one comes out is what is being measured.
        response = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
        code = code or str(getattr(error, "error_code", None) or getattr(error, "code", None) or "")
        return f"{type(error).__name__} {code}".strip()
    return "ok"


def until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Return whether the condition came true within the time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
