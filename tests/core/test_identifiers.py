import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.identifiers import STATUSES, WELL_FORMED, Selection, format_selection, parse_selection
from tests.builders import quick

N = 5
PIECES = [
    "[1]",
    "[2]",
    "[0]",
    "[6]",
    "[ 3 ]",
    "[",
    "]",
    "1",
    "07",
    ", ",
    ",",
    " ",
    "\n",
    "None",
    "none",
    ".",
    "Passage",
    ">",
    "٣",
]
replies = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


@quick
@given(replies, st.integers(0, 12), st.booleans())
def test_any_reply_gives_unique_positions_in_range(reply, n, truncated):
    parsed = parse_selection(reply, n, truncated=truncated)
    assert len(set(parsed.positions)) == len(parsed.positions)
    assert all(0 <= position < n for position in parsed.positions)
    assert parsed.status in STATUSES
    assert (parsed.status == "ok") <= bool(parsed.positions)
    assert (parsed.status in {"none", "empty", "failed", "no_identifier"}) <= (not parsed.positions)
    assert not (truncated and parsed.status == "ok")


@quick
@given(st.lists(st.integers(0, 59), unique=True), st.integers(60, 500))
def test_format_then_parse_round_trip(positions, n):
    status = "ok" if positions else "none"
    assert parse_selection(format_selection(positions), n) == Selection(tuple(positions), status)


@quick
@given(st.lists(st.integers(0, 20), min_size=1), st.integers(0, 12))
def test_status_says_whether_anything_was_dropped(numbers, n):
    reply = ", ".join(f"[{number}]" for number in numbers)
    valid = [number - 1 for number in numbers if 1 <= number <= n]
    parsed = parse_selection(reply, n)
    assert parsed.positions == tuple(dict.fromkeys(valid))
    expected = "out_of_range" if len(valid) < len(numbers) else "duplicate" if len(set(valid)) < len(valid) else "ok"
    assert parsed.status == expected


def test_format_is_one_based():
    assert format_selection([3, 0, 8]) == "[4], [1], [9]"
    assert format_selection([]) == "None"


@pytest.mark.parametrize(
    ("reply", "positions", "status"),
    [
        ("[4], [1], [5]", (3, 0, 4), "ok"),
        (" [2]\n", (1,), "ok"),
        ("None", (), "none"),
        ("none.", (), "none"),
        ("", (), "empty"),
        (" \n\t", (), "empty"),
        (None, (), "failed"),
        ("Passages [2] and [4]", (1, 3), "extra_text"),
        ("[2] > [1]", (1, 0), "extra_text"),
        ("[2], [2], [1]", (1, 0), "duplicate"),
        ("[0]", (), "out_of_range"),
        ("[6], [1]", (0,), "out_of_range"),
        ("2, 4", (1, 3), "unbracketed"),
        ("3", (2,), "unbracketed"),
        ("The Danube rises in Germany.", (), "no_identifier"),
        ("[-1]", (), "no_identifier"),
        ("[1.5]", (), "no_identifier"),
        ("In 1998 it was 3 km.", (), "no_identifier"),
        ("1, 4", (0, 3), "unbracketed"),
        ("4 > 1 > 2", (3, 0, 1), "unbracketed"),
        ("Document 3", (), "no_identifier"),
        ("[1]-[3]", (0, 2), "extra_text"),
        ("1-3", (), "no_identifier"),
        ("[1, 4]", (0, 3), "extra_text"),
        ("1. [4]\n2. [1]", (3, 0), "extra_text"),
        ("The second passage answers it, and the fourth helps.", (), "no_identifier"),
        ("The river rises in Donaueschingen [2], as passage [4] says.", (1, 3), "extra_text"),
        ("None of the passages helps.", (), "no_identifier"),
        ("\N{ARABIC-INDIC DIGIT ONE}, \N{ARABIC-INDIC DIGIT FOUR}", (0, 3), "unbracketed"),
        ("[\N{DEVANAGARI DIGIT THREE}], [\N{FULLWIDTH DIGIT ONE}]", (2, 0), "extra_text"),
        ("\N{FULLWIDTH LEFT SQUARE BRACKET}3\N{FULLWIDTH RIGHT SQUARE BRACKET}", (), "no_identifier"),
        ("[\N{SUPERSCRIPT TWO}]", (), "no_identifier"),
    ],
)
def test_reply(reply, positions, status):
    assert parse_selection(reply, N) == Selection(positions, status)


@pytest.mark.parametrize(
    ("reply", "positions"),
    [
        ("[2], [4], [", (1, 3)),
        ("[2], [4", (1,)),
        ("[2]", (1,)),
        ("I think that", ()),
        ("[9]", ()),
        ("2, 4, 1", (1, 3)),
        ("4", ()),
    ],
)
def test_cut_reply_keeps_the_identifiers_before_the_cut(reply, positions):
    assert parse_selection(reply, N, truncated=True) == Selection(positions, "truncated")


def test_no_candidate_can_be_chosen_from_an_empty_prompt():
    assert parse_selection("[1]", 0) == Selection((), "out_of_range")
    assert parse_selection("None", 0) == Selection((), "none")


def test_well_formed_statuses_are_in_the_table():
    assert {"ok", "none"} == WELL_FORMED
    assert set(STATUSES) > WELL_FORMED
    assert all(re.fullmatch(r"[a-z_]+", status) for status in STATUSES)


def test_overlong_identifier_is_out_of_range():
    assert parse_selection("[1], [99999999999]", N) == Selection((0,), "out_of_range")
