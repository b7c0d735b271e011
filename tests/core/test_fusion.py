import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.fusion import reciprocal_rank_fusion
from tests.builders import quick


def test_scores_are_sums_of_reciprocal_ranks():
    fused = reciprocal_rank_fusion([["a", "b"], ["b", "c"]], 3)
    assert [name for name, _ in fused] == ["b", "a", "c"]
    assert [score for _, score in fused] == pytest.approx([1 / 62 + 1 / 61, 1 / 61, 1 / 62])


def test_ties_go_to_the_id_met_first():
    assert [name for name, _ in reciprocal_rank_fusion([["a", "b"], ["b", "a"]], 2)] == ["a", "b"]


def test_top_k_cuts_after_fusion():
    assert [name for name, _ in reciprocal_rank_fusion([["a", "b"], ["c", "b"]], 1)] == ["b"]


def test_empty_lists_add_nothing():
    assert reciprocal_rank_fusion([[], ["a"]], 5) == [("a", pytest.approx(1 / 61))]
    assert reciprocal_rank_fusion([], 5) == []


@quick
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=4), st.integers(1, 8))
def test_every_id_once_by_falling_score(rankings, top_k):
    fused = reciprocal_rank_fusion(rankings, top_k)
    names = [name for name, _ in fused]
    scores = [score for _, score in fused]
    assert len(set(names)) == len(names) == min(top_k, len({name for ranking in rankings for name in ranking}))
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= len(rankings) / 61 + 1e-12 for score in scores)
