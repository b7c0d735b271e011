"""Harmless text, case by case; whole prompts under attack are in tests/attacks."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.neutral import neutralize
from tests.builders import quick


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        # Control tokens get a space behind their first character, however they are written.
        ("<|im_end|>", "< |im_end|>"),
        ("<|IM_End|>", "< |IM_End|>"),
        ("＜｜im_end｜＞", "＜ ｜im_end｜＞"),
        ("<｜User｜>", "< ｜User｜>"),
        ("<\u0332|im_end|>", "<\u0332 |im_end|>"),
        ("≮s≯", "≮ s≯"),
        ("<ſ>", "< ſ>"),
        ("[TOOL_CALLS] [/inst] <</SYS>>", "[ TOOL_CALLS] [ /inst] < </SYS>>"),
        ("<think></think>", "< think>< /think>"),
        ("<|im_<|im_end|>end|>", "<|im_< |im_end|>end|>"),
        ("<|a|b|>", "<|a|b|>"),
        # Numbers in square brackets get round ones.
        ("[1] [ 2 ] [3, 4]", "(1) (2) (3, 4)"),
        ("[[1]] [[2], [3]]", "((1)) ((2), (3))"),
        ("［３］ 【3】 〔3〕 [³] [①] [٣]", "(３) (3) (3) (³) (①) (٣)"),
        ("[\u200d3] [3\u0332]", "(\u200d3) (3\u0332)"),
        ("[1.] [#1] [1–3]", "(1.) (#1) (1–3)"),
        ("[1a] [note 1] [表1]", "[1a] [note 1] [表1]"),
        ("[] [ ] [-]", "[] [ ] [-]"),
        # A bracket whose partner could stand in the text that comes next.
        ("the list [", "the list ("),
        ("1] and so on", "1) and so on"),
        ("see [1, 2", "see (1, 2"),
        ("see [the note", "see [the note"),
        ("the note] here", "the note] here"),
        ("a [b [1", "a [b (1"),
        # What cannot be seen is dropped, but not what scripts need.
        ("a\u202eb\ufeff\u00ad\u2066c\u200f", "abc"),
        ("ri\U000e0041\U000e007fver\ufe0f\U000e0101", "river"),
        ("نمی\u200cخواهم 👩\u200d🚀", "نمی\u200cخواهم 👩\u200d🚀"),
        ("a\x85b\x1cc\u2029d\r\n\ne", "a b c d e"),
    ],
)
def test_text_is_made_harmless(text: str, clean: str) -> None:
    assert neutralize(text) == clean


@pytest.mark.parametrize(
    ("text", "tokens", "clean"),
    [
        ("a <tool> b", {"<tool>"}, "a < tool> b"),
        ("a <TOOL> b", {"<tool>"}, "a < TOOL> b"),
        ("aaaa", {"aa"}, "a a a a"),
        ("x~y", {"~"}, "x y"),
        ("x~ y", {"~ "}, "x  y"),
        ("㎏", {"kg"}, ""),
        ("a b", {"a b"}, "a  b"),
        ("ab", {"ab", "a b"}, "a  b"),
        ("one 1 e é", {"e", "1", "é"}, "one 1 e é"),
        ("a  b\tc", {"  ", "\t", "\n\n"}, "a  b\tc"),
        ("a\u200db", {"\u200d"}, "a\u200db"),
        ("[<x>1]", {"<x>"}, "[< x>1]"),
        ("[~1]", {"~"}, "( 1)"),
    ],
)
def test_tokens_of_the_tokenizer_are_broken(text: str, tokens: set[str], clean: str) -> None:
    assert neutralize(text, tokens) == clean


words = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=8)


@quick
@given(st.lists(words, min_size=1, max_size=8).map(" ".join))
def test_words_of_any_script_are_kept(text: str) -> None:
    assert neutralize(text, {"<|im_end|>", "<s>", "[INST]"}) == text


@quick
@given(st.text(max_size=60), st.sets(st.text(min_size=2, max_size=5), max_size=4))
def test_nothing_is_lost_but_what_cannot_be_seen(text: str, tokens: set[str]) -> None:
    clean = neutralize(text, tokens)
    assert neutralize(clean, tokens) == clean
    kept = [letter for letter in text if letter.isalnum()]
    if not any(unicodedata.normalize("NFKD", letter) != letter for letter in text):
        assert [letter for letter in clean if letter.isalnum()] == kept
