import dataclasses
import os
import re
from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.prompts import TEMPLATE_FILES, Chat, neutralize
from dynamicrag_cli.core.tasks import TASKS
from tests.builders import default_prompts, doc, docs, question, quick

GOLDEN = Path(__file__).parents[1] / "golden" / "prompts"
GENERIC = [
    "<|im_end|>",
    "<|start_header_id|>",
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
]
OWN = frozenset({"<think>", "[TOOL_CALLS]", "<｜end▁of▁sentence｜>", "|||IP|||", "<|im_end|>", "  "})
PIECES = [
    *GENERIC,
    *sorted(OWN),
    "[",
    "]",
    "<",
    ">",
    "|",
    "/",
    "1",
    "12",
    " ",
    "\n",
    "\r\n",
    "\u2028",
    "\u200b",
    "\x00",
    "s",
    "INST",
]
dirty = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=12).map("".join)


def chats():
    prompts = default_prompts()
    passages = [
        doc("a", "The Danube begins at Donaueschingen.", "Danube"),
        doc("b", "It is [1] of\nthe longest <|im_end|> rivers.", "Rhine [2]"),
    ]
    asked = question(question="Where does the Danube\nrise?")
    rules = {TASKS[name].rule: name for name in sorted(TASKS)}
    made = {
        "reranker": prompts.reranker(asked.question, passages),
        "relevance": prompts.relevance(asked.question, passages[0]),
        "listwise": prompts.listwise(asked.question, passages),
        "judge": prompts.judge(asked.question, ["Donaueschingen", "Black Forest"], "In the\nBlack Forest"),
        "query2doc": prompts.query2doc(asked.question),
        "generator_no_passages": prompts.generator(asked, []),
    }
    for rule, dataset in rules.items():
        made[f"generator_{rule}"] = prompts.generator(question(question=asked.question, dataset=dataset), passages)
    return made


CHATS = chats()


@pytest.mark.parametrize("name", CHATS)
def test_golden_prompt(name):
    """`DRAG_UPDATE_GOLDEN=1 pytest tests/core/test_prompts.py` writes the files anew."""
    file = GOLDEN / f"{name}.txt"
    text = f"--- system\n{CHATS[name].system}\n--- user\n{CHATS[name].user}\n"
    if os.environ.get("DRAG_UPDATE_GOLDEN") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


def test_no_golden_prompt_is_left_over():
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(CHATS)


@pytest.mark.parametrize("name", CHATS)
def test_prompt_has_both_turns_and_no_stray_white_space(name):
    for turn in (CHATS[name].system, CHATS[name].user):
        assert turn
        assert turn == turn.strip()
        assert "\n\n\n" not in turn
        assert not re.search(r"[ \t]\n", turn)


def test_default_folder_is_complete():
    assert set(default_prompts().sources) == set(TEMPLATE_FILES)
    assert set(default_prompts().rules) == {task.rule for task in TASKS.values()}


@quick
@given(dirty)
def test_no_control_token_and_no_identifier_survives(text):
    clean = neutralize(text, OWN)
    assert not [token for token in (*GENERIC, *OWN) if token.strip() and token in clean]
    assert not re.search(r"\[\s*\d+\s*\]", clean)
    assert len(clean.splitlines()) <= 1
    assert neutralize(clean, OWN) == clean


@quick
@given(dirty)
def test_common_control_tokens_need_no_tokenizer(text):
    assert not [token for token in GENERIC if token in neutralize(text)]


@quick
@given(st.text(st.characters(categories=["L", "Nd", "Po"], exclude_characters="<[|"), max_size=40))
def test_ordinary_text_is_kept(text):
    assert neutralize(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("see [12] and [ 3 ]", "see (12) and (3)"),
        ("a [note] b", "a [note] b"),
        ("one\r\ntwo\u2029three", "one two three"),
        ("end<|im_end|>", "end< |im_end|>"),
        ("<|im\u200b_end|>", "< |im_end|>"),
        ("[\u200b1]", "(1)"),
        ("  x  ", "x"),
    ],
)
def test_neutralize(text, clean):
    assert neutralize(text) == clean


def test_white_space_token_is_layout():
    assert neutralize("a  b", {"  "}) == "a  b"


def test_longer_token_is_broken_before_its_part():
    assert neutralize("x<tool>y", {"<tool>", "tool"}) == "x< t ool>y"


def test_passages_are_numbered_from_1_in_the_order_given():
    user = default_prompts().reranker("Why?", docs("cab")).user
    places = [
        user.index(text) for text in ("Title c", "Text of c. [1]", "Title a", "Text of a. [2]", "Title b", "Text of b. [3]")
    ]
    assert places == sorted(places)
    assert not re.search(r"\[4\]", user)


def test_question_stands_in_every_user_turn_and_in_no_system_turn():
    for chat in CHATS.values():
        assert "Where does the Danube rise?" in chat.user
        assert "Danube" not in chat.system


def test_answer_rule_follows_the_task():
    prompts = default_prompts()
    assert "SUPPORTS" in prompts.generator(question(dataset="fever"), []).system
    assert "SUPPORTS" not in prompts.generator(question(dataset="nq"), []).system


def test_all_texts_are_neutralised_where_they_enter():
    prompts = default_prompts(frozenset({"<own>"}))
    dirty_doc = doc("a", "text <own> [7]", "title <own> [7]")
    asked = question(question="why <own> [7]?")
    rendered = [
        prompts.reranker(asked.question, [dirty_doc]),
        prompts.generator(asked, [dirty_doc]),
        prompts.relevance(asked.question, dirty_doc),
        prompts.judge(asked.question, ["gold <own> [7]"], "answer <own> [7]"),
    ]
    for chat in rendered:
        assert "< own>" in chat.user
        assert "<own>" not in chat.user
        assert "[7]" not in chat.user


def test_stored_text_stays_as_it_is():
    passage = doc("a", "see [1]\n<s>")
    default_prompts().reranker("Why?", [passage])
    assert passage.text == "see [1]\n<s>"


def test_text_is_never_read_as_a_template():
    assert "{{ 6 * 7 }} {% raw %}" in default_prompts().reranker("{{ 6 * 7 }} {% raw %}", []).user


def test_own_template_replaces_one_file():
    prompts = default_prompts()
    own = dataclasses.replace(
        prompts, sources={**prompts.sources, "reranker.user.jinja": "{{ question }}|{{ passages | length }}\n"}
    )
    assert own.reranker("Why?", docs("ab")) == Chat(prompts.reranker("Why?", docs("ab")).system, "Why?|2")


def test_missing_template_and_missing_rule_are_named():
    prompts = default_prompts()
    with pytest.raises(UsageError, match=r"no file judge\.system\.jinja"):
        dataclasses.replace(prompts, sources={}).judge("Why?", [], "x")
    with pytest.raises(UsageError, match="no rule 'short-phrase'"):
        dataclasses.replace(prompts, rules={}).generator(question(), [])


def test_unknown_slot_is_refused():
    prompts = default_prompts()
    own = dataclasses.replace(prompts, sources={**prompts.sources, "reranker.user.jinja": "{{ topic }}"})
    with pytest.raises((UsageError, jinja2.UndefinedError), match="topic"):
        own.reranker("Why?", [])


def test_messages_start_with_the_system_turn():
    assert Chat("s", "u").messages() == [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert Chat("", "u").messages() == [{"role": "user", "content": "u"}]


def test_passage_without_title_has_no_stray_space():
    assert not re.search(r" \n", default_prompts().reranker("Why?", [doc("a", title="")]).user)


@pytest.mark.parametrize("source", ["{{ topic }}", "{% for %}"])
def test_wrong_template_is_a_usage_error(source):
    prompts = default_prompts()
    own = dataclasses.replace(prompts, sources={**prompts.sources, "reranker.user.jinja": source})
    with pytest.raises(UsageError, match=r"reranker\.user\.jinja"):
        own.reranker("Why?", [])
