"""Generated pages are up to date, and every link and field of the documentation exists."""

import importlib.util
import re
import typing
from pathlib import Path

import msgspec
import pytest

from cli.demo.result import Demo

DOCS = Path(__file__).parents[2] / "docs"
_spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize("name", sorted(generate.PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == generate.PAGES[name](), "run: uv run python docs/generate.py"


def fields_of(kind: object, seen: set[type]) -> set[str]:
    """Return the names of all fields in a record's JSON, with those of its nested records."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind in seen:
            return set()
        seen.add(kind)
        hints = typing.get_type_hints(kind)
        inner = [fields_of(hints[field.name], seen) for field in msgspec.structs.fields(kind)]
        return {field.encode_name for field in msgspec.structs.fields(kind)}.union(*inner)
    return set().union(*(fields_of(part, seen) for part in typing.get_args(kind)))


def test_every_field_of_the_demo_is_described() -> None:
    described = set(re.findall(r"`([a-z_0-9]+)`", (DOCS / "demo.md").read_text()))
    described |= {"value", "low", "high"}  # described once for all metrics
    assert fields_of(Demo, set()) - described == set()


def test_every_link_leads_somewhere() -> None:
    pages = [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())]
    broken = [f"{page.name}: {link}" for page, link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []
    assert len(links) > 40
