import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.listwise import Order, graded, parse_order, windows
from tests.builders import quick


@pytest.mark.parametrize(
    ("n_docs", "spans"),
    [
        (0, []),
        (1, []),
        (2, [(0, 2)]),
        (4, [(0, 4)]),
        (5, [(1, 5), (0, 3)]),
        (9, [(5, 9), (3, 7), (1, 5), (0, 3)]),
    ],
)
def test_windows_slide_from_the_end(n_docs, spans):
    assert [*windows(n_docs, size=4, stride=2)] == spans


def test_the_windows_of_the_papers():
    assert [*windows(100, 20, 10)] == [(start, start + 20) for start in range(80, -1, -10)]


@pytest.mark.parametrize(
    ("reply", "order", "n_named", "whole"),
    [
        ("[2] > [3] > [1]", (1, 2, 0), 3, True),
        ("[2], [3], [1]", (1, 2, 0), 3, True),
        ("3 > 1 > 2", (2, 0, 1), 3, True),
        ("3, 1, 2", (2, 0, 1), 3, True),
        ("The ranking is [3] > [2] > [1].", (2, 1, 0), 3, True),
        ("[3]", (2, 0, 1), 1, False),
        ("[3] > [3] > [1] > [2]", (2, 0, 1), 3, False),
        ("[4] > [2] > [0]", (1, 0, 2), 1, False),
        ("", (0, 1, 2), 0, False),
        ("None", (0, 1, 2), 0, False),
        (None, (0, 1, 2), 0, False),
    ],
)
def test_order_of_a_reply(reply, order, n_named, whole):
    assert parse_order(reply, 3) == Order(order, n_named, whole)


def test_reply_that_was_cut_is_not_whole():
    assert parse_order("[2] > [1]", 2, truncated=True) == Order((1, 0), 2, whole=False)


@quick
@given(st.text(alphabet="[]0123456789>, Nonea\n", max_size=30), st.integers(0, 6))
def test_any_reply_gives_a_permutation(reply, n_docs):
    assert sorted(parse_order(reply, n_docs).positions) == list(range(n_docs))


def test_relevance_falls_by_rank():
    assert graded([2, 0, 3, 1]) == [0.75, 0.25, 1.0, 0.5]
    assert graded([]) == []
