"""Writes the documentation's tables from the code that they describe: `uv run python docs/generate.py`.

tests/docs fails when a table in docs/ is not what this program writes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import get_type_hints

import msgspec

from infra.configuration import NAMESPACE, Configuration, Ports, Retention
from infra.idle_costs import load
from localstack.evidence.faults import FAULTS
from localstack.evidence.row import EVIDENCE, SHOWN, Row
from localstack.evidence.rows import GAPS, PROVIDERS, ROWS
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
        "object is written only after the objects in its last column exist. `{usecase}` is the unit of access.\n",
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
        "| name | grammar |",
        "|---|---|",
    ]
    lines += [f"| `{{{name}}}` | {text} |" for name, (_, text) in GRAMMAR.items()]
    return "\n".join(lines) + "\n"


def functions() -> str:
    """Return the tables of functions, events and routes."""
    lines = [
        "# Functions, events and routes\n",
        NOTE,
        "| function | unit | called by | does | sends |",
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
        "# Invariants\n",
        NOTE,
        "`tidegate fsck` checks these on any stack; the simulation and the kill tests use the same code. Under each",
        "invariant are its checks, by the name that a finding has. Number 7, that no swap of models causes a 5xx",
        "answer, is about requests and not about what is stored: tests show it.\n",
    ]
    for number, text in sorted(INVARIANTS.items()):
        lines.append(f"{number}. {text}.")
        lines += [f"   - `{check.name}`: {check.holds}" for check in CHECKS.values() if check.invariant == number]
    return "\n".join(lines) + "\n"


def capabilities() -> str:
    """Return the capabilities of each provider, with their evidence."""
    lines = [
        "# Capabilities of each cloud, and their evidence\n",
        NOTE,
        "Nothing here was run on a real account. With an account, use [live runs](live.md). The kinds of evidence:\n",
        *(f"- **{word}**: {meaning}." for word, meaning in EVIDENCE.items()),
        "\nBelow each provider's table is what no test shows of its services.",
        "\nThe reference adapters, memory and local, pass every clause except presign, which is Unsupported.",
        "\n## At a glance\n",
        f"| | | {' | '.join(PROVIDERS)} |",
        f"|---|---|{'---|' * len(PROVIDERS)}",
    ]
    areas = list(dict.fromkeys(row.area for row in ROWS))
    for area, what in sorted(dict.fromkeys((row.area, row.what) for row in ROWS), key=lambda row: areas.index(row[0])):
        words = [
            ", ".join(
                dict.fromkeys(row.evidence for row in ROWS if (row.provider, row.area, row.what) == (name, area, what))
            )
            for name in PROVIDERS
        ]
        lines.append(f"| {area} | {what} | {' | '.join(word or '-' for word in words)} |")
    for name in PROVIDERS:
        rows = [row for row in ROWS if row.provider == name]
        shown = sum(row.evidence in SHOWN for row in rows)
        lines += [
            f"\n## {name}\n",
            f"{shown} of {len(rows)} rows have evidence from an emulator or a host.\n",
            "| | what | service | evidence | tests | alternative, or difference |",
            "|---|---|---|---|---|---|",
            *(_capability(row) for row in rows),
            "\nWithout evidence:\n",
            *(f"- {gap.service}: {gap.what}" for gap in GAPS if gap.provider == name),
        ]
    lines += ["\n## Bad input and faults\n", f"| | {' | '.join(PROVIDERS)} |", f"|---|{'---|' * len(PROVIDERS)}"]
    for fault, shown_by in FAULTS.items():
        lines.append(f"| {fault} | {' | '.join(_tests(shown_by.get(name, ())) for name in PROVIDERS)} |")
    return "\n".join(lines) + "\n"


def configuration() -> str:
    """Return the table of a stack's settings."""
    lines = [
        "# Configuration of a stack\n",
        NOTE,
        "Set keys in `infra/Pulumi.STACK.yaml`, by `pulumi config set`, or by `tidegate up --config KEY=VALUE`",
        "([how](operate.md)). An unknown key or an invalid value is refused before any resource is created.\n",
        "| key | default | what |",
        "|---|---|---|",
    ]
    hints = get_type_hints(Configuration, include_extras=True)
    for field in msgspec.structs.fields(Configuration):
        (meta,) = hints[field.name].__metadata__
        lines.append(f"| `{NAMESPACE}{field.encode_name}` | {_default(field)} | {meta.description} |")
    lines += ["\n## retentionDays\n", "| key | default |", "|---|---|"]
    lines += [f"| `{field.encode_name}` | {_default(field)} |" for field in msgspec.structs.fields(Retention)]
    names = ", ".join(f"`{field.encode_name}`" for field in msgspec.structs.fields(Ports))
    lines += ["\n## ports\n", f"{names}: URLs as in [clouds](clouds.md). None is set by default."]
    return "\n".join(lines) + "\n"


def cost() -> str:
    """Return what each provider's stack costs while idle."""
    prices = load()
    lines = [
        "# Idle costs of a stack\n",
        NOTE,
        "No compute runs while a stack is idle. A test reads what each program declares, and fails on a type without a",
        "price below. Prices are list prices in US dollars, as copies of the pages had them on the given",
        "day: check them before you rely on them. `-` as a source: no page was found that says it is free. Usage is",
        "charged in addition.\n",
        "| provider | one whole stack, a month | the same, with the account's free units used up |",
        "|---|---|---|",
        *(f"| {total.provider} | {total.usd:.2f} | {total.usd_without_free:.2f} |" for total in prices.total),
    ]
    for provider in (total.provider for total in prices.total):
        lines += [
            f"\n## {provider}\n",
            "| type | each a month | free | why | source | seen |",
            "|---|---|---|---|---|---|",
        ]
        for type_, price in prices.of(provider).items():
            usd = f"{price.usd:.2f}" if price.usd else "0"
            source = price.source or "-"
            lines.append(f"| `{type_}` | {usd} | {price.free or '-'} | {price.why} | {source} | {price.seen} |")
    lines += [
        '\n"Infracost" is Infracost\'s expected outputs and its list of free types, which have no date and no region.',
        "A local stack polls its own files and costs what its machine costs.",
    ]
    return "\n".join(lines) + "\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if value is msgspec.NODEFAULT:
        return "" if field.required else "-"
    return f"`{msgspec.json.encode(value).decode()}`" if value not in ("", msgspec.NODEFAULT) else "-"


def _tests(names: Iterable[str]) -> str:
    return "<br>".join(f"`{name.removeprefix('tests/')}`" for name in names) or "-"


def _capability(row: Row) -> str:
    tests = _tests(row.shown_by)
    return f"| {row.area} | {row.what} | {row.service} | {row.evidence} | {tests} | {row.remedy or '-'} |"


PAGES = {
    "capabilities.md": capabilities,
    "configuration.md": configuration,
    "cost.md": cost,
    "state.md": state,
    "functions.md": functions,
    "invariants.md": invariants,
}


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
