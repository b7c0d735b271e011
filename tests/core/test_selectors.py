import pytest

from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.policy import Bounds
from dynamicrag_cli.core.records import Candidate
from dynamicrag_cli.core.selectors import PURE_SELECTORS, Selector, in_order, parse_selector
from tests.builders import labelled, retrieved


def positions(selector, record):
    parsed = parse_selector(selector)
    return PURE_SELECTORS[parsed.name](record, parsed)


@pytest.mark.parametrize(
    ("selector", "expected"), [("none", ()), ("all", (0, 1, 2)), ("top-k:2", (0, 1)), ("top-k:9", (0, 1, 2))]
)
def test_selected_positions(selector, expected):
    assert positions(selector, retrieved("abc")) == expected


def test_gold_keeps_the_order_of_the_gold_ids_and_skips_what_retrieval_missed():
    assert positions("gold", retrieved("abc", gold_passage_ids=["c", "missed", "a"])) == (2, 0)
    assert positions("gold", retrieved("abc", gold_passage_ids=[])) == ()


def test_gold_needs_gold_ids():
    with pytest.raises(InputError, match="gold_passage_ids"):
        positions("gold", retrieved("abc"))


@pytest.mark.parametrize(
    "text",
    ["llm", "none", "all", "gold", "top-k:3", "cross-encoder:3", "cross-encoder:threshold=0.25", "rrpo", "rrpo:2", "rrpo:0:5"],
)
def test_selector_is_written_as_it_was_read(text):
    assert str(parse_selector(text)) == text


def test_parsed_selector():
    assert parse_selector("top-k:12") == Selector("top-k", 12)
    assert parse_selector("llm") == Selector("llm")
    assert parse_selector("cross-encoder:2") == Selector("cross-encoder", 2)
    assert parse_selector("cross-encoder:threshold=.5") == Selector("cross-encoder", threshold=0.5)
    assert parse_selector("rrpo:0:5") == Selector("rrpo", bounds=Bounds(0, 5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top-k", "such as top-k:3"),
        ("top-k:", "at least 1"),
        ("top-k:0", "at least 1"),
        ("top-k:-1", "at least 1"),
        ("top-k:2.5", "at least 1"),
        ("gold:3", "takes no argument"),
        ("llm:", "takes no argument"),
        ("topk:3", "Did you mean 'top-k'"),
        ("", "unknown selector"),
        ("cross-encoder", "such as cross-encoder:3"),
        ("cross-encoder:0", "cross-encoder:threshold=0.5"),
        ("cross-encoder:threshold=2", "relevance in"),
        ("cross-encoder:threshold=high", "relevance in"),
        ("cross-encoder:treshold=0.5", "relevance in"),
        ("rrpo:5:2", "such as 0:5"),
        ("rrpo:models/mine", "such as 0:5"),
        ("rppo", "Did you mean 'rrpo'"),
    ],
)
def test_wrong_selector_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_selector(text)


def scored(*scores):
    return retrieved("", docs=[Candidate(id=str(place), title="", text="x", score=score) for place, score in enumerate(scores)])


def test_threshold_takes_what_the_teacher_found_relevant_best_first():
    record = labelled([0.2, 0.9, 0.5, 0.4], threshold=0.45)
    assert positions("threshold:0.4", record) == (1, 2, 3)
    assert positions("threshold", record) == (1, 2)
    assert positions("threshold:0.95", record) == ()


def test_threshold_needs_relevance():
    with pytest.raises(InputError, match="drag rerank-teacher"):
        positions("threshold:0.5", retrieved())
    with pytest.raises(InputError, match="recommends no threshold"):
        positions("threshold", labelled([0.2], threshold=None))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((9, 8, 3, 2), (0, 1)),
        ((9, 3, 2), (0,)),
        ((5, 5, 5), (0, 1, 2)),
        ((3, 2, 1), (0,)),
        ((7,), (0,)),
        ((), ()),
        ((1, 9, 8), (1, 2)),
    ],
)
def test_largest_gap_of_the_retrieval_scores(scores, expected):
    assert positions("largest-gap", scored(*scores)) == expected


def test_largest_gap_prefers_the_teacher():
    assert positions("largest-gap", labelled([0.1, 0.2, 0.9])) == (2,)


@pytest.mark.parametrize("score", [None, float("nan")])
def test_largest_gap_needs_scores(score):
    with pytest.raises(InputError, match="drag retrieve"):
        positions("largest-gap", scored(1.0, score))


@pytest.mark.parametrize(
    "text", ["threshold", "threshold:0.5", "largest-gap", "top-k:3,reversed", "llm,shuffled", "cross-encoder:3"]
)
def test_new_selectors_are_written_as_they_were_read(text):
    assert str(parse_selector(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threshold:2", "such as threshold:0.5"),
        ("threshold:nan", "such as threshold:0.5"),
        ("threshold:high", "such as threshold:0.5"),
        ("largest-gap:2", "takes no argument"),
        ("top-k:3,reverse", "Did you mean 'reversed'"),
        ("top-k:3,", "unknown order"),
    ],
)
def test_wrong_new_selector_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_selector(text)


def test_orders():
    ids = list("abcdefgh")
    assert in_order(ids, parse_selector("all"), "q") == ids
    assert in_order(ids, parse_selector("all,reversed"), "q") == ids[::-1]
    shuffled = in_order(ids, parse_selector("all,shuffled"), "q", 1)
    assert sorted(shuffled) == ids != shuffled
    assert (
        shuffled == in_order(ids, parse_selector("all,shuffled"), "q", 1) != in_order(ids, parse_selector("all,shuffled"), "p", 1)
    )
