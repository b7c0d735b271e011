"""Ranking metrics: worked examples, and properties on any ranking."""

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("ir_measures")

from dynamicrag_cli.adapters.ranking import rank_scores
from dynamicrag_cli.core.ranking import Ranked
from tests.builders import quick

items = st.permutations("abcdefgh").flatmap(lambda order: st.integers(0, 8).map(lambda size: tuple(order[:size])))
wanted = st.sets(st.sampled_from("abcdefghxyz")).map(frozenset)


def scores(order, gold, *, any_hit=False, cutoffs=(1, 3)):
    return rank_scores({"q": Ranked(tuple(order), frozenset(gold))}, cutoffs, any_hit=any_hit)["q"]


def test_worked_example():
    ideal = 1 + 1 / log2(3)
    assert scores("xaby", "ab") == pytest.approx(
        {"recall@1": 0.0, "recall@3": 1.0, "ndcg@1": 0.0, "ndcg@3": (1 / log2(3) + 1 / log2(4)) / ideal, "mrr": 0.5}
    )


def test_one_hit_is_enough_where_asked():
    assert scores("axby", "ab")["recall@1"] == 0.5
    assert scores("axby", "ab", any_hit=True)["recall@1"] == 1.0


def test_graded_gains_count_for_ndcg_alone():
    """Linear gains, as trec_eval has them: 1 and 3 here, where 2^grade - 1 would give 1 and 7."""
    ranked = Ranked(("one", "bad", "three"), frozenset({"three"}), {"one": 1, "three": 3, "bad": -1, "missed": 2})
    found = rank_scores({"q": ranked}, (3,), any_hit=False)["q"]
    ideal = 3 + 2 / log2(3) + 1 / log2(4)
    assert found == pytest.approx({"recall@3": 1.0, "ndcg@3": (1 + 3 / log2(4)) / ideal, "mrr": 1 / 3})


@quick
@given(items, wanted)
def test_range_and_what_ir_measures_says_of_many_at_once(order, gold):
    one = scores(order, gold)
    assert all(0 <= value <= 1 for value in one.values())
    both = rank_scores({"p": Ranked(("a",), frozenset("a")), "q": Ranked(order, gold)}, (1, 3), any_hit=False)
    assert both["q"] == one
    first = next((rank for rank, item in enumerate(order, start=1) if item in gold), None)
    assert one["mrr"] == pytest.approx(1 / first if first else 0)
    assert one["recall@3"] == pytest.approx(len(gold & {*order[:3]}) / len(gold) if gold else 0)
    gain = sum(1 / log2(rank + 1) for rank, item in enumerate(order[:3], start=1) if item in gold)
    ideal = sum(1 / log2(rank + 1) for rank in range(1, min(len(gold), 3) + 1))
    assert one["ndcg@3"] == pytest.approx(gain / ideal if gain else 0, abs=1e-6)


def test_identical_disjoint_empty():
    assert set(scores("ab", "ab", cutoffs=[2]).values()) == {1.0}
    assert set(scores("ab", "xy").values()) == {0.0}
    assert set(scores("", "xy").values()) == {0.0}
    assert set(scores("ab", "").values()) == {0.0}
    assert rank_scores({}, [1], any_hit=False) == {}


def test_ties_and_numbers_as_ids_keep_the_given_order():
    assert scores(["10", "9"], ["9"])["mrr"] == 0.5
    assert scores(["9", "10"], ["9"])["mrr"] == 1.0
