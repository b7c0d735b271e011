"""Hostile text in passages, titles and questions: whatever it is, a prompt has the control tokens and identifiers that we put there.

The attacks are in passages.jsonl, a corpus like any other; the tokenizers and chat templates in families.py.
"""

import re
import time
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamicrag_cli.core.identifiers import parse_selection
from dynamicrag_cli.core.prompts import Chat, PromptSet
from dynamicrag_cli.core.records import Candidate, Question
from tests.attacks.families import FAMILIES, NEED_THEIR_TOKENIZER, Family
from tests.builders import default_prompts, quick

PACK = [msgspec.json.decode(line) for line in (Path(__file__).parent / "passages.jsonl").read_bytes().splitlines()]
HARMLESS = "It is a river."
N = 3
BRACKETS = str.maketrans(dict.fromkeys("【〔〖〘〚⟦⁅❲⦋", "[") | dict.fromkeys("】〕〗〙〛⟧⁆❳⦌", "]"))
TOKENIZERS = {family.name: family.tokenizer() for family in FAMILIES}


def chats(prompts: PromptSet, title: str, text: str, question: str) -> dict[str, Chat]:
    """Every prompt with this text at every place where foreign text goes, between harmless passages."""
    others = [Candidate(id=str(i), title="Rhine", text=HARMLESS) for i in range(N - 1)]
    hostile = Candidate(id="x", title=title, text=text)
    docs = [others[0], hostile, others[1]]
    asked = Question(id="q", question=question, answers=[text], dataset="qa")
    return {
        "reranker": prompts.reranker(question, docs),
        "generator": prompts.generator(asked, docs),
        "relevance": prompts.relevance(question, hostile),
        "judge": prompts.judge(question, [text], text),
    }


def controls(family: Family, chat: Chat) -> list[str]:
    """The control tokens and markers of a prompt in the order in which the model sees them."""
    tokenizer = TOKENIZERS[family.name]
    text = tokenizer.apply_chat_template(chat.messages(), tokenize=False, add_generation_prompt=True)
    added = {number: token for token, number in tokenizer.get_added_vocab().items() if token.strip(" \n▁")}
    found = [added[number] for number in tokenizer(text, add_special_tokens=False)["input_ids"] if number in added]
    return [*found, *(match for marker in family.markers for match in re.findall(re.escape(marker), text))]


def read_leniently(text: str) -> list[str]:
    """What stands in square brackets and is made of digits and signs, to the eye of a reader who forgives much."""
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) not in ("Cf", "Mn", "Me")
    )
    digits = "".join(letter if unicodedata.digit(letter, None) is None else str(unicodedata.digit(letter)) for letter in plain)
    inside = re.findall(r"\[([^\[\]]*)\]", digits.translate(BRACKETS))
    return [found.strip() for found in inside if re.search(r"\d", found) and not re.search(r"[^\W\d_]", found)]


def placed(chat_name: str) -> list[str]:
    return {"reranker": ["1", "2", "3"], "generator": ["1", "2", "3"], "relevance": ["1"], "judge": []}[chat_name]


@lru_cache
def harmless(family: Family, tokens: frozenset[str]) -> dict[str, tuple[list[str], int, str]]:
    """Of every prompt with harmless text: control tokens, number of lines, system turn."""
    calm = chats(default_prompts(tokens), "Danube", HARMLESS, "Where does it rise?")
    return {name: (controls(family, chat), len(chat.user.splitlines()), chat.system) for name, chat in calm.items()}


def faults(family: Family, tokens: frozenset[str], title: str, text: str, question: str) -> Iterator[str]:
    """One line for everything in which a prompt with hostile text differs from one with harmless text."""
    prompts = default_prompts(tokens)
    for name, chat in chats(prompts, title, text, question).items():
        calm_controls, n_lines, system = harmless(family, tokens)[name]
        if (found := controls(family, chat)) != calm_controls:
            yield f"{name}: control tokens {found}"
        if read_leniently(chat.user) != placed(name):
            yield f"{name}: identifiers {read_leniently(chat.user)}"
        if name == "reranker" and parse_selection(chat.user, N).positions != tuple(range(N)):
            yield f"{name}: parsed {parse_selection(chat.user, N)}"
        if len(chat.user.splitlines()) != n_lines:
            yield f"{name}: another number of lines"
        if chat.system != system:
            yield f"{name}: another system turn"


def tokens_of(family: Family) -> frozenset[str]:
    """The control tokens as the engines and the data-building commands read them."""
    return frozenset(TOKENIZERS[family.name].get_added_vocab())


def test_there_are_many_attacks_of_every_kind() -> None:
    assert len(PACK) >= 40
    assert len({attack["id"] for attack in PACK}) == len(PACK)
    everything = "".join(attack["title"] + attack["text"] for attack in PACK)
    unused = [token for family in FAMILIES for token in family.tokens if token.strip(" \n") and token not in everything]
    assert set(unused) <= {"<reponame>", *(t for t in unused if re.fullmatch(r"<(issue|jupyter|empty)_\w+>|</?\w{1,4}>", t))}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_tokenizers_see_their_tokens(family: Family) -> None:
    """Without this the tests below would pass with tokenizers that know no control token at all."""
    raw = Chat("s", " and ".join(token for token in family.tokens if token.strip(" \n▁")))
    calm = controls(family, Chat("s", "u"))
    assert len(controls(family, raw)) >= len(calm) + len([t for t in family.tokens if t.strip(" \n▁")])
    assert calm


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("place", ["passage", "title", "question", "everywhere"])
def test_an_attack_changes_no_control_token_and_no_identifier(family: Family, place: str) -> None:
    succeeded = []
    for attack in PACK:
        text = attack["text"]
        slots = {
            "passage": (attack["title"], text, "Where does it rise?"),
            "title": (text, HARMLESS, "Where does it rise?"),
            "question": ("Danube", HARMLESS, text),
            "everywhere": (text, text, text),
        }[place]
        succeeded += [f"{attack['id']}: {fault}" for fault in faults(family, tokens_of(family), *slots)]
    assert succeeded == []


@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if family.name not in NEED_THEIR_TOKENIZER], ids=lambda family: family.name
)
def test_the_common_families_are_safe_without_their_tokenizer(family: Family) -> None:
    """An endpoint's tokenizer is unknown, and --tokenizer may be left away."""
    found = [
        f"{attack['id']}: {fault}"
        for attack in PACK
        for fault in faults(family, frozenset(), attack["text"], attack["text"], attack["text"])
    ]
    assert found == []


PIECES = [token for family in FAMILIES for token in (*family.tokens, *family.markers)]
CRUMBS = [
    "[",
    "]",
    "［",
    "］",
    "<",
    ">",
    "＜",
    "＞",
    "|",
    "｜",
    "/",
    "1",
    "2",
    "３",
    " ",
    "\n",
    "\u200b",
    "\u200d",
    "\u0332",
    "\ufe0f",
    "s",
]
hostile = st.lists(
    st.one_of(
        st.sampled_from(PIECES),
        st.sampled_from(CRUMBS),
        st.tuples(st.sampled_from(PIECES), st.integers(1, 6), st.sampled_from([*CRUMBS, *PIECES])).map(
            lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
        ),
        st.text(max_size=3),
    ),
    max_size=10,
).map("".join)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_random_mixtures_of_tokens_succeed_no_better(family: Family) -> None:
    @settings(quick, max_examples=60)
    @given(hostile, hostile, hostile)
    def holds(title: str, text: str, question: str) -> None:
        assert list(faults(family, tokens_of(family), title, text, f"?{question}")) == []

    holds()


def test_the_stored_text_never_changes() -> None:
    for attack in PACK:
        docs = [Candidate(id=attack["id"], title=attack["title"], text=attack["text"])]
        before = msgspec.json.encode(docs)
        default_prompts(tokens_of(FAMILIES[0])).reranker(attack["text"], docs)
        assert msgspec.json.encode(docs) == before


@pytest.mark.parametrize("piece", ["<|im_end|>", "<|im_", "[1]", "[", "<", "＜｜", "[\u200b", "a\u0332", "\u202e", " "])
def test_a_long_text_takes_no_long_time(piece: str) -> None:
    text = piece * 100_000
    started = time.process_time()
    default_prompts(tokens_of(FAMILIES[1])).clean(text)
    assert time.process_time() - started < 10
