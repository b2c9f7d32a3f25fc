import io

import pytest

from shared.data.contract import KindCounts, count_kinds, infer_contract, infer_kinds, kind_of, rules_by_name
from shared.data.examine import examine
from shared.data.formats import Limits
from shared.data.profile import Profile
from shared.data.reading import open_table
from shared.data.records import Contract
from shared.documents import decode, encode

DIGEST = "sha256:" + "0" * 64


def inferred(body, charter):
    return examine(io.BytesIO(body), "f.csv", DIGEST, charter, DIGEST, None)


@pytest.mark.parametrize(
    ("counts", "kind"),
    [
        (KindCounts(), "text"),
        (KindCounts(values=100, numbers=100), "number"),
        (KindCounts(values=100, numbers=99), "number"),
        (KindCounts(values=100, numbers=98), "text"),
        (KindCounts(values=100, numbers=100, leading_zeros=1), "text"),
        (KindCounts(values=100, booleans=99), "boolean"),
        (KindCounts(values=100, times=99), "time"),
        (KindCounts(values=100, numbers=50, times=50), "text"),
    ],
)
def test_kind_of(counts, kind):
    assert kind_of(counts, 0.01) == kind


@pytest.mark.parametrize("block_bytes", [40, 64, 4096])
def test_kinds_are_inferred_from_all_cells_whatever_the_blocks(block_bytes, charter):
    header = "at,flag,zip,n,mixed,day,nothing,bit\n"
    lines = [f"x,{n % 2 == 0},0{n},{n},{n if n % 2 else 'a'},2013-01-0{n % 9 + 1},NA,{n % 2}\n" for n in range(40)]
    table = open_table(io.BytesIO((header + "".join(lines)).encode()), "f", Limits(block_bytes=block_bytes))
    assert infer_kinds(table, charter) == {
        "at": "time",
        "flag": "boolean",
        "zip": "text",
        "n": "number",
        "mixed": "text",
        "day": "time",
        "nothing": "text",
        "bit": "number",
    }
    counts = count_kinds(table.batches(["n", "nothing"]), ["n", "nothing"])
    assert counts == {"n": KindCounts(values=40, numbers=40), "nothing": KindCounts()}


def test_an_inferred_contract_follows_the_charters_rules(charter, rows, csv_of):
    rows[3]["carrier"] = ""
    found = inferred(csv_of(rows, "at,flight,carrier,distance,delay,late,note"), charter)
    contract = found.contract
    assert found.inferred
    assert decode(encode(contract), Contract) == contract
    rules = rules_by_name(contract)
    assert [rule.name for rule in contract.columns] == sorted(rules)
    assert (contract.time_column, contract.target_column, contract.target_positive) == ("at", "late", "1")
    assert (contract.inferred_from, contract.max_bad_rate) == (DIGEST, 0.05)
    assert {name for name, rule in rules.items() if not rule.required} == {"note"}
    assert rules["carrier"].domain == ("AA", "B6", "UA")
    assert rules["carrier"].max_missing_rate == pytest.approx(0.11)
    assert rules["delay"].max_missing_rate == pytest.approx(0.2)
    assert rules["late"].max_missing_rate == rules["at"].max_missing_rate == 0.05
    assert rules["flight"].domain is None
    assert rules["distance"].integer
    assert not rules["delay"].integer
    seen = found.profile.column("distance").number
    span = seen.maximum - seen.minimum
    assert rules["distance"].minimum == seen.minimum - 0.5 * span
    assert rules["distance"].maximum == seen.maximum + 0.5 * span


def test_text_with_many_values_and_constant_numbers_get_no_bounds(charter, rows, csv_of):
    for number, row in enumerate(rows):
        row["carrier"] = f"C{number}"
        row["distance"] = "7"
    rules = rules_by_name(inferred(csv_of(rows), charter).contract)
    assert rules["carrier"].domain is None
    assert (rules["distance"].minimum, rules["distance"].maximum) == (None, None)


def test_columns_of_the_charter_are_required_even_if_the_first_file_lacks_them(charter):
    contract = infer_contract(Profile(rows=0, columns=()), charter, DIGEST, DIGEST)
    assert {rule.name: rule.kind for rule in contract.columns} == {
        "at": "time",
        "carrier": "text",
        "delay": "number",
        "distance": "number",
        "flight": "text",
        "late": "text",
    }
    assert all(rule.required for rule in contract.columns)
