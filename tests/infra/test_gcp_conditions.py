"""Google Cloud's conditions on names of objects: their text, and what they allow, for each function and family."""

import pytest

from infra import plan
from infra.gcp_stores import BUCKET, conditions_of
from shared.layout import FAMILIES
from shared.topology import BY_NAME, FUNCTIONS, Function
from tests.infra.test_plan import EXAMPLES

BEGINS = f'resource.name.startsWith("projects/_/buckets/{BUCKET}/objects/'
ASKED = 'api.getAttribute("storage.googleapis.com/objectListPrefix", "")'


def conditions(function: Function, store: str) -> dict[str, list[str]]:
    return conditions_of([each for each in plan.access(function) if each.store == store])


def test_a_condition_tells_families_with_the_same_beginning_apart() -> None:
    (created,) = conditions(BY_NAME["train"], "system")["create"][-1:]
    assert f'({BEGINS}runs/") && resource.name.extract("/trials/{{rest}}") != "")' in created


def test_a_condition_names_what_keys_begin_and_end_with() -> None:
    assert conditions(BY_NAME["collect"], "capture") == {
        "read": [f'{BEGINS}payloads/") || ({BEGINS}predictions/") && resource.name.endsWith(".arrow"))'],
        "create": [f'({BEGINS}predictions/") && resource.name.endsWith(".arrow"))'],
        "list": [f'{ASKED} == "" || {ASKED}.startsWith("payloads/") || {ASKED}.startsWith("predictions/")'],
    }  # fmt: skip


class Name(str):
    """An object's name with the functions that conditions have (IAM, "Attribute reference for IAM Conditions")."""

    def startsWith(self, text: str) -> bool:  # noqa: N802 - Google's name
        return self.startswith(text)

    def endsWith(self, text: str) -> bool:  # noqa: N802 - Google's name
        return self.endswith(text)

    def extract(self, template: str) -> str:
        """Return what stands in place of {rest} at the template's end, "" where it does not match."""
        return self.partition(template.removesuffix("{rest}"))[2]


class Resource:
    """The object that is asked for."""

    def __init__(self, key: str) -> None:
        self.name = Name(f"projects/_/buckets/{BUCKET}/objects/{key}")


def holds(condition: str, key: str) -> bool:
    """Return whether a condition is true of an object; its operators are Python's under other names."""
    return bool(eval(condition.replace("&&", "and").replace("||", "or"), {"resource": Resource(key)}))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_conditions_allow_the_granted_families_and_no_other(function: Function) -> None:
    for family in FAMILIES:
        names = {hole: EXAMPLES[hole] for hole in EXAMPLES if "{" + hole + "}" in family.pattern}
        key = family.key(**names)
        given = conditions(function, family.store)
        granted = [each for each in plan.access(function) if each.family == family.name]
        for verb in ("read", "create", "replace"):
            allowed = any(holds(condition, key) for condition in given.get(verb, ()))
            replaced = any(each.replace for each in granted)
            wanted = {
                "read": any(each.read for each in granted),
                "create": any(each.create for each in granted) and not replaced,
                "replace": replaced,
            }
            assert allowed == wanted[verb], (family.name, verb)
            assert not any(holds(condition, f"elsewhere/{key}") for condition in given.get(verb, ()))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_no_condition_has_more_operators_than_iam_takes(function: Function) -> None:
    for store in plan.STORES:
        for texts in conditions(function, store).values():
            assert all(text.count("&&") + text.count("||") <= 12 for text in texts)
