"""Documents into passages: nothing is lost, nothing changes place."""

from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.cutting import blocks, heading, pack
from tests.builders import quick

LINES = st.lists(st.sampled_from(["", "  ", "# A heading", "## b ##", "#tag", "One two. Three", "four,\tfive", "six\u00a0seven"]))


@quick
@given(LINES)
def test_blocks_have_all_words_in_order_and_no_heading_among_others(lines: list[str]) -> None:
    text = "\n".join(lines)
    found = [*blocks(text)]
    assert " ".join(found).split() == text.split()
    assert all(block == " ".join(block.split()) != "" for block in found)
    for block in found:
        assert block in ("# A heading", "## b ##") or not ("A heading" in block or "##" in block)


def test_a_blank_line_ends_a_block_and_a_line_end_does_not() -> None:
    assert [*blocks("One\ntwo.\n\n\n# Three\nfour\n# Five")] == ["One two.", "# Three", "four", "# Five"]


def test_the_first_heading() -> None:
    assert heading("words\n#\n  ## The *end* ##\n# Other") == "The *end*"
    assert heading("no heading\n#hashtag") is None


@quick
@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=7).map(" ".join)), st.integers(1, 9))
def test_passages_are_whole_sentences_as_many_as_fit(sentences: list[str], limit: int) -> None:
    passages = [*pack(sentences, limit)]
    assert " ".join(passages).split() == " ".join(sentences).split()
    rest, heads = iter(sentences), []
    for passage in passages:
        held = [next(rest)]
        heads.append(held[0])
        while len(" ".join(held)) < len(passage):
            held.append(next(rest))
        assert " ".join(held) == passage
        assert len(held) == 1 or len(passage.split()) <= limit
    for passage, following in zip(passages, heads[1:], strict=False):
        assert len(f"{passage} {following}".split()) > limit


def test_a_long_sentence_is_a_passage_of_its_own() -> None:
    assert [*pack(["a b", "c d e f", "g"], 3)] == ["a b", "c d e f", "g"]
