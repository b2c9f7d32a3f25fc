"""Cells of files and labels over HTTP follow the same rules: which values are positive, and which are allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.arrays import strings
from shared.data.conversion import typed_column
from shared.data.outcome import outcomes
from shared.data.records import ColumnRule
from shared.data.values import outcome_of, target_rule

WORDS = ("1", "1.0", " 1", "1e0", "01", "0", "-0.0", "2", "true", "True", "FALSE", "no", "yes", "late", "maybe", " yes")
POSITIVES = ("1", "1.0", "0", "true", "True", "false", "yes", "no", "late", "2")


@given(
    st.sampled_from(WORDS) | st.text(max_size=6),
    st.sampled_from(POSITIVES),
    st.sampled_from(["number", "boolean", "text"]),
)
def test_a_label_is_compared_like_a_cell(text, positive, kind):
    cells, bad = typed_column(strings([text]), kind)
    in_file = outcomes(cells, positive).to_pylist()[0]
    assert bad.count == 0 or in_file is None
    try:
        as_label = outcome_of(text, ColumnRule(name="target", kind=kind), positive)
    except ValueError:
        as_label = None
    if kind == "text" and not text.strip():
        assert as_label is (True if text == positive else None)  # blanks are refused as labels, and text in a file
    else:
        assert as_label is in_file


@pytest.mark.parametrize(
    ("value", "positive", "happened"),
    [
        *((value, "1", True) for value in ("1", "1.0", " 1", 1, 1.0)),
        *((value, "1.0", True) for value in ("1", "1.0", 1, 1.0)),
        *((value, "true", True) for value in ("true", "True", 1, True)),
        *((value, "1", False) for value in ("0", 0, 0.0)),
        ("yes", "yes", True),
        ("no", "yes", False),
    ],
)
def test_values_are_compared_by_their_kind(value, positive, happened):
    assert outcome_of(value, target_rule(None, "target", positive), positive) is happened


NUMBER = ColumnRule(name="target", kind="number", integer=True, minimum=-0.5, maximum=1.5)
TEXT = ColumnRule(name="target", kind="text", domain=("no", "yes"))


@pytest.mark.parametrize(
    ("value", "rule", "positive", "says"),
    [
        ("maybe", NUMBER, "1", "1 or another whole number, -0.5 to 1.5"),
        ("", NUMBER, "1", "1 or"),
        ("NA", NUMBER, "1", "1 or"),
        (7, NUMBER, "1", "to 1.5"),
        (0.5, NUMBER, "1", "whole"),
        (float("inf"), NUMBER, "1", "whole"),
        (10**400, NUMBER, "1", "whole"),
        (" yes", TEXT, "yes", "'yes' or 'no'"),
        ("", TEXT, "yes", "'yes' or 'no'"),
        ("  ", ColumnRule(name="target", kind="text"), "yes", "'yes' or another text"),
        ("maybe", ColumnRule(name="target", kind="boolean"), "true", "true or false"),
        (2, ColumnRule(name="target", kind="boolean"), "true", "true or false"),
    ],
)
def test_a_value_that_the_target_column_does_not_allow_is_refused(value, rule, positive, says):
    with pytest.raises(ValueError, match=says):
        outcome_of(value, rule, positive)
