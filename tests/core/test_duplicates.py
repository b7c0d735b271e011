import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.duplicates import near_pairs, representatives, shingles
from tests.builders import quick

words = st.lists(st.sampled_from("abcdefg"), max_size=8).map(" x".join)


def test_shingles_are_words_and_pairs_of_neighbours():
    assert shingles("Where is the Danube?") == {"where", "is", "danube", "where is", "is danube"}
    assert shingles("?!") == frozenset()


def test_similarity_is_that_of_jaccard():
    one, other = shingles("where does danube rise"), shingles("where does danube end")
    # 7 shingles each, of which 5 are shared: 5 / 9.
    assert [*near_pairs([one, other], 5 / 9)] == [(0, 1)]
    assert [*near_pairs([one, other], 0.56)] == []


@quick
@given(st.lists(words, max_size=12), st.sampled_from([0.3, 0.5, 0.75, 0.8, 1.0]))
def test_all_pairs_are_found_and_no_other(texts, threshold):
    sets = [shingles(text) for text in texts]
    brute = {
        (i, j)
        for j in range(len(sets))
        for i in range(j)
        if sets[i] and sets[j] and len(sets[i] & sets[j]) >= threshold * len(sets[i] | sets[j]) - 1e-9
    }
    found = [*near_pairs(sets, threshold)]
    assert len(found) == len({*found})
    assert {*found} == brute


def test_groups_have_the_first_text_as_name_and_are_handed_on():
    words = [f"w{number}" for number in range(8)]
    texts = [" ".join(words[start : start + 6]) for start in (2, 0, 1)] + ["other"]
    # Of 11 shingles each, neighbours share 9 of 13, the first and the last 7 of 15.
    assert representatives(texts, 0.69) == ["w0 w1 w2 w3 w4 w5"] * 3 + ["other"]
    assert representatives(texts, 0.70) == texts
    assert representatives(["Ulm?", "ulm"], 1.0) == ["ulm", "ulm"]


@pytest.mark.parametrize("texts", [[], ["", "?"]])
def test_nothing_to_compare(texts):
    assert representatives(texts) == [""] * len(texts)
