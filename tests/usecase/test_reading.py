"""Typical charters and typical mistakes in them: each message has line, column, field and remedy."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.documents import DIGEST_PREFIX, decode, encode
from shared.errors import InvalidInput, MissingDependency, PayloadTooLarge
from shared.usecase.charter import Charter, Kpi, Retraining
from shared.usecase.reading import charter_digest, parse_charter
from shared.usecase.yaml_tree import MAX_BYTES, MAX_NODES, read_yaml

GOOD = """\
# The demo's question, in short.
usecase: flights-late
problem: Passengers miss connections.
objective: Warn an hour before departure.
owners: {business: Ada, data-science: Bo}
sign_off: [business, data-science]
task: binary
target: {column: late, positive: "1"}
time_column: scheduled_at
id_columns: [flight_id]
features:
  numeric: [hour, distance]
  categorical: [carrier]
kpis:
  - metric: roc_auc
    at_least: 0.7
    why: >
      Below it,
      nobody trusts a warning.
  - {metric: payoff_per_1000, at_least: 100, gates: false}
payoff: {true_positive: 4, false_positive: -1}
retraining:
  on: [drift]
"""


def edited(old: str, new: str) -> str:
    """Return the valid charter with one edit."""
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def refusal(text: bytes | str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse_charter(text, "usecase.yaml")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_good_charter_is_read_with_its_defaults() -> None:
    charter = parse_charter(GOOD)
    assert charter.owners == {"business": "Ada", "data-science": "Bo"}
    assert charter.kpis[0] == Kpi(metric="roc_auc", at_least=0.7, why="Below it, nobody trusts a warning.\n")
    assert (charter.kpis[1].at_least, charter.kpis[1].gates) == (100.0, False)
    assert charter.retraining == Retraining(on=("drift",))  # `on` is a key like another, not the boolean of YAML 1.1
    assert decode(encode(charter), Charter) == charter


@pytest.mark.parametrize("same", [GOOD.encode(), b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n")])
def test_bytes_a_byte_order_mark_and_windows_line_ends_are_read_the_same(same: bytes | str) -> None:
    assert parse_charter(same) == parse_charter(GOOD)


def test_the_digest_is_of_the_content_and_not_of_the_text() -> None:
    spaced = edited("task: binary", "task:   'binary'  # the only one")
    digest = charter_digest(parse_charter(GOOD))
    assert digest.startswith(DIGEST_PREFIX)
    assert charter_digest(parse_charter(spaced)) == digest
    assert charter_digest(parse_charter(edited("at_least: 0.7", "at_least: 0.71"))) != digest


@pytest.mark.parametrize(
    ("old", "new", "place", "field", "message"),
    [
        ("kpis:", "kpi:", "14:1", "kpi", "did you mean kpis?"),
        ("at_least: 0.7", "at_lest: 0.7", "16:5", "kpis[0].at_lest", "did you mean at_least?"),
        ("retraining:", "minimum_gain: 1\nretraining:", "22:1", "minimum_gain", "it belongs under release"),
        ("at_least: 0.7", "at_least: high", "16:15", "kpis[0].at_least", "expected a number, got text 'high'"),
        ("at_least: 0.7", "at_least: 70%", "16:15", "kpis[0].at_least", "write 0.7"),
        ("at_least: 0.7", "at_least: [0.7]", "16:15", "kpis[0].at_least", "expected a number, got a list"),
        ("gates: false", "gates: no", "20:53", "kpis[1].gates", "expected true or false, got text 'no': write false"),
        ("gates: false", "gates: ON", "20:53", "kpis[1].gates", "write true"),
        ("gates: false", "gates: 0", "20:53", "kpis[1].gates", "expected true or false, got 0"),
        ('"1"', "1", "8:34", "target.positive", 'expected text, got 1: write it in quotes: "1"'),
        ("task: binary", "task: binery", "7:7", "task", "did you mean binary?"),
        ("task: binary", "task: forecast", "7:7", "task", "expected binary, got text 'forecast'"),
        ("metric: roc_auc", "metric: f1", "15:13", "kpis[0].metric", "roc_auc, log_loss, accuracy, payoff_per_1000"),
        ("time_column: scheduled_at\n", "", "2:1", "time_column", "is missing: add time_column:"),
        ("usecase: flights-late", "usecase: Flights", "2:10", "usecase", "at most 40 letters, digits and hyphens"),
        ("problem: Passengers miss connections.", "problem:", "3:1", "problem", "got nothing: write a value"),
        ("numeric: [hour, distance]", "numeric: hour", "12:12", "features.numeric", "write it as a list"),
        ("[hour, distance]", "[hour, 'dis/tance']", "12:19", "features.numeric[1]", "a column's name"),
        ("owners: {business: Ada", "owners: {business: 3", "5:20", "owners.business", "write it in quotes"),
        ("owners: {business: Ada, data-science: Bo}", "owners: [Ada]", "5:9", "owners", "expected a mapping"),
        ("  on: [drift]", "  cooldown_days: -1", "23:18", "retraining.cooldown_days", "at least 0 and at most 3650"),
        ("  on: [drift]", "  cooldown_days: 2.5", "23:18", "retraining.cooldown_days", "a whole number"),
        ("  on: [drift]", "  cooldown_days: '28'", "23:18", "retraining.cooldown_days", "write 28"),
        ("  on: [drift]", "  on: [drift, rift]", "23:15", "retraining.on[1]", "did you mean drift?"),
        ("task: binary", "task: binary\nformat: charter/9", "8:9", "format", "write charter/1"),
    ],
)
def test_an_invalid_value_or_key_is_reported_with_line_field_and_remedy(
    old: str, new: str, place: str, field: str, message: str
) -> None:
    error = refusal(edited(old, new))
    assert error.message.startswith(f"usecase.yaml:{place}: {field}: ")
    assert error.field == field
    assert message in error.message


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "message"),
    [
        (
            "at_least: 0.7",
            "at_most: 0.9\n    at_least: 0.7",
            15,
            "kpis[0]",
            "exactly one of at_least and at_most, and has both",
        ),
        ("at_least: 0.7", "gates: true", 15, "kpis[0]", "has neither"),
        ("at_least: 0.7", "at_least: 1.7", 16, "kpis[0].at_least", "expected a roc_auc from 0 to 1, got 1.7"),
        ("payoff_per_1000, at_least: 100", "log_loss, at_most: -1", 20, "kpis[1].at_most", "of at least 0, got -1"),
        (
            "payoff_per_1000, at_least: 100",
            "roc_auc, at_least: 0.6",
            20,
            "kpis[1]",
            "has a bound in an earlier KPI",
        ),
        ("at_least: 0.7", "at_least: 0.7\n    gates: false", 15, "kpis", "set gates: true"),
        ("[business, data-science]", "[business, legal]", 6, "sign_off[1]", "'legal' is not among the owners"),
        ("[business, data-science]", "[business, business]", 6, "sign_off[1]", "is repeated"),
        ("[business, data-science]", "[]", 6, "sign_off", "names no role"),
        ("  numeric: [hour, distance]\n  categorical: [carrier]", "  numeric: []", 12, "features", "names no column"),
        ("[hour, distance]", "[hour, hour]", 12, "features.numeric[1]", "is repeated"),
        ("[carrier]", "[carrier, hour]", 13, "features.categorical[1]", "is a numeric feature, too"),
        ("[hour, distance]", "[hour, late]", 12, "features.numeric[1]", "is the target"),
        ("[carrier]", "[scheduled_at]", 13, "features.categorical[0]", "is the time column"),
        ("[carrier]", "[flight_id]", 13, "features.categorical[0]", "is an id column"),
        ("id_columns: [flight_id]", "id_columns: []", 10, "id_columns", "names no column"),
        ("id_columns: [flight_id]", "id_columns: [late]", 10, "id_columns[0]", "is the target"),
        ("time_column: scheduled_at", "time_column: late", 9, "time_column", "is the target"),
        ("retraining:", "training: {windows: 1}\nretraining:", 22, "training.windows", "at least 2 are needed"),
        ("retraining:", "training: {algorithms: []}\nretraining:", 22, "training.algorithms", "at least one"),
    ],
)
def test_inconsistent_fields_are_reported_with_their_line(
    old: str, new: str, line: int, field: str, message: str
) -> None:
    error = refusal(edited(old, new))
    assert error.message.startswith(f"usecase.yaml:{line}:")
    assert error.field == field
    assert message in error.message


def test_the_first_error_in_the_file_is_reported() -> None:
    assert refusal(edited("task: binary", "tsk: binary").replace("at_least: 0.7", "at_least: x")).field == "tsk"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty"),
        ("# nothing yet\n", "the file is empty"),
        ("- a\n- b\n", "1:1: expected a mapping (the keys usecase, problem"),
        ("just text", "got text 'just text'"),
        ("a: 1\nb: 2\na: 3\n", "3:1: a: is repeated, first in line 1"),
        ("a: &x [1, 2]\nb: *x\n", "1:4: anchors (&) and aliases (*) are not allowed"),
        ("a: *x\n", "1:4: anchors (&) and aliases (*)"),
        ("&x a: 1\n", "anchors"),
        ("target:\n  <<: {column: late}\n", "2:3: merge keys (<<) are not supported: write the values out"),
        ("a: !!python/object/apply:os.system [ls]\n", "1:4: tags (!) are not allowed"),
        ("a: !mine 1\n", "tags (!) are not allowed"),
        (GOOD + "---\nusecase: other\n", "a second document"),
        ("%YAML 1.1\n---\n" + GOOD, "delete the %YAML line"),
        ("a:\n\t- b\n", "2:1: not valid YAML: found character '\\t' that cannot start any token: indent with spaces"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a: 'b\n", "not valid YAML"),
        ("a: b: c\n", "1:5: not valid YAML"),
        ("a: b\x00c\n", "1:5: a control character"),
        (b"a: b\nc: d\xe9\n", "2:5: not UTF-8 text: save the file as UTF-8"),
        (GOOD.encode("utf-16"), "1:1: not UTF-8 text"),
        ("a: .inf\n", "1:4: .inf is not a finite number"),
        ("a: -.INF\n", "not a finite number"),
        ("a: .nan\n", "not a finite number"),
        ("a: 1e999\n", "the number is too large"),
        ("a: 123456789012345678901\n", "more than 18 digits"),
        ("? [a, b]\n: 1\n", "a key must be a scalar"),
        ("<<: {a: 1}\n", "1:1: merge keys (<<) are not supported"),
        ("[" * 100_000, "1:21: nested more than 20 deep"),
        ("{a: " * 50_000, "nested more than 20 deep"),
        ("- " * 100_000, "nested more than 20 deep"),
        ("a: [" + "1," * (MAX_NODES + 1) + "]", "more than 10,000 values"),
    ],
)
def test_yaml_outside_the_subset_is_refused(text: bytes | str, message: str) -> None:
    assert message in refusal(text).message


def test_an_anchor_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))
    assert refusal(bomb).message.startswith("usecase.yaml:1:5: anchors")


def test_a_file_over_the_size_limit_is_refused() -> None:
    error = refusal("#" * (MAX_BYTES + 1))
    assert isinstance(error, PayloadTooLarge)
    assert "262,144" in error.message
    assert "empty" in refusal("#" * MAX_BYTES).message
    assert isinstance(refusal("é" * (MAX_BYTES // 2 + 1)), PayloadTooLarge)  # bytes count, not characters


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ruamel.yaml", None)
    with pytest.raises(MissingDependency, match="tidegate\\[local\\]"):
        parse_charter(GOOD)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("off", "off"),
        ("2013-04-30", "2013-04-30"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'~'", "~"),
        ("007", 7),
        ("0o17", 15),
        ("0xfF", 255),
        ("-12", -12),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("5.", 5.0),
    ],
)
def test_unquoted_scalars_follow_the_core_schema_of_yaml_1_2(written: str, meant: object) -> None:
    value = read_yaml(f"a: {written}\n", "x.yaml").plain()["a"]
    assert value == meant
    assert type(value) is type(meant)


@given(st.text(max_size=60) | st.binary(max_size=60))
@example("a: \x85b")
def test_any_text_is_refused_and_never_crashes(text: bytes | str) -> None:
    assert refusal(text).field


@given(st.integers(0, len(GOOD) - 1), st.sampled_from(list("\0\t\n :-[]{}&*!|>'\"%@`#,?x1")))
def test_a_charter_with_one_character_changed_is_read_or_refused(place: int, character: str) -> None:
    damaged = GOOD[:place] + character + GOOD[place + 1 :]
    try:
        charter = parse_charter(damaged)
    except InvalidInput:
        refusal(damaged)
    else:
        assert decode(encode(charter), Charter) == charter
