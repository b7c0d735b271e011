import pytest

from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.selectors import PURE_SELECTORS, Selector, parse_selector
from tests.builders import retrieved


def positions(selector, record):
    parsed = parse_selector(selector)
    return PURE_SELECTORS[parsed.name](record, parsed.k)


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


@pytest.mark.parametrize("text", ["llm", "none", "all", "gold", "top-k:3"])
def test_selector_is_written_as_it_was_read(text):
    assert str(parse_selector(text)) == text


def test_parsed_selector():
    assert parse_selector("top-k:12") == Selector("top-k", 12)
    assert parse_selector("llm") == Selector("llm")


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
    ],
)
def test_wrong_selector_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_selector(text)
