"""Writes the documentation's tables from the code that they describe: `uv run python docs/generate.py`.

tests/docs fails when a table in docs/ is not what this program writes.
"""

from pathlib import Path

from shared.events import PAYLOADS, UNLOGGED
from shared.layout import FAMILIES, GRAMMAR
from shared.monitoring.fsck import CHECKS, INVARIANTS
from shared.serving.routes import ROUTES
from shared.topology import FUNCTIONS, subscribers

DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the code it reads instead. -->\n\n"


def state() -> str:
    """Return the table of every key of every store."""
    lines = [
        "# State: every key of every store\n",
        NOTE,
        "Blobs, ledgers, and documents that are created once; only hints, which may be stale, are ever replaced. An",
        "object is written only after those in its last column stand. `{usecase}` is the unit of access.\n",
        "| store | key | kind | what | written by | read by | after |",
        "|---|---|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        writers = _granted("create", family.name) or "people and their tools, from outside"
        if family.name == "charters":
            writers = "`tidegate apply`, `tidegate sign-off`"
        lines.append(
            f"| {family.store} | `{family.pattern}` | {family.kind} | {family.about} | {writers} "
            f"| {_granted('read', family.name) or '-'} | {', '.join(family.after) or '-'} |"
        )
    lines += [
        "\n## Names\n",
        "A name that its grammar forbids is refused before any key is built.\n",
        "| name | may be |",
        "|---|---|",
    ]
    lines += [f"| `{{{name}}}` | {text} |" for name, (_, text) in GRAMMAR.items()]
    return "\n".join(lines) + "\n"


def functions() -> str:
    """Return the tables of functions, events and routes."""
    lines = [
        "# Functions, events and routes\n",
        NOTE,
        "| function | unit | called by | does | may send |",
        "|---|---|---|---|---|",
    ]
    for function in FUNCTIONS:
        called = [_short(event) for event in function.subscribes]
        called += ["HTTPS"] if function.http else []
        called += ["a job"] if function.job else []
        called += [f"schedule (`{function.schedule}`)"] if function.schedule else []
        sends = ", ".join(_short(event) for event in function.sends) or "-"
        lines.append(f"| {function.name} | {function.unit} | {', '.join(called)} | {function.about} | {sends} |")
    lines += ["\n## Events\n", "| type | to | logged in events/ | means |", "|---|---|---|---|"]
    for payload in PAYLOADS:
        about = " ".join((payload.__doc__ or "").split())
        to = ", ".join(subscribers(payload.TYPE)) or "-"
        logged = "no" if payload.TYPE in UNLOGGED else "yes"
        lines.append(f"| `{payload.TYPE}` | {to} | {logged} | {about} |")
    lines += ["\n## Routes\n", "| method | path | scope | does |", "|---|---|---|---|"]
    for route in ROUTES:
        scope = f"`<usecase>:{route.action}`" if route.action else "open"
        lines.append(f"| {route.method} | `{route.path}` | {scope} | {route.about} |")
    return "\n".join(lines) + "\n"


def invariants() -> str:
    """Return the list of what fsck checks."""
    lines = [
        "# What must always hold\n",
        NOTE,
        "`tidegate fsck` checks these on any stack; the simulation and the kill tests use the same checker. Under each",
        "stand the checks that it makes, by the name that a finding has.\n",
    ]
    for number, text in sorted(INVARIANTS.items()):
        lines.append(f"{number}. {text}.")
        lines += [f"   - `{check.name}`: {check.holds}" for check in CHECKS.values() if check.invariant == number]
    return "\n".join(lines) + "\n"


PAGES = {"state.md": state, "functions.md": functions, "invariants.md": invariants}


def _granted(access: str, family: str) -> str:
    names = [
        function.name
        for function in FUNCTIONS
        if any(grant.access == access and grant.family.name == family for grant in function.grants)
    ]
    return ", ".join(names)


def _short(event_type: str) -> str:
    return f"`{event_type.removeprefix('io.tidegate.')}`"


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
