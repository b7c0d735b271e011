"""Planted faults of every kind are found, and sound examples are not."""

import pytest

from dynamicrag_cli.core.audit import FINDINGS, Auditor, kept_lengths, n_common, percentiles
from dynamicrag_cli.core.prompts import Chat
from dynamicrag_cli.core.records import ChatExample, PreferencePair
from tests.real_trainer import ask_trainer, with_trainer


class Words:
    """Tokens are words; a prompt ends with a token of its own."""

    control_tokens = frozenset({"<tool>", " "})

    def __init__(self) -> None:
        self.known: list[str] = []

    def prompt(self, chat: Chat) -> list[int]:
        return self._ids(f"{chat.system} {chat.user} <reply>")

    def reply(self, text: str) -> list[int]:
        return self._ids(f"{text} <end>")

    def text(self, ids) -> str:
        return " ".join(self.known[number] for number in ids)

    def _ids(self, text: str) -> list[int]:
        words = text.split()
        self.known += [word for word in words if word not in self.known]
        return [self.known.index(word) for word in words]


def example(name="q", user="Question first text [1] second text [2] which", assistant="[2]", **changes):
    fields = {"id": name, "role": "reranker", "system": "Choose as in [2]", "user": user, "assistant": assistant}
    return ChatExample(**{**fields, **changes})


def pair(chosen="[1]", rejected="[2]", user="Question text [1] text [2]"):
    return PreferencePair(id="p", role="reranker", system="Choose", user=user, chosen=chosen, rejected=rejected, margin=1.0)


def found(*examples, cutoff=100):
    auditor = Auditor(Words(), cutoff)
    return [auditor.look(each) for each in examples]


def test_sound_examples_have_no_findings():
    assert found(example("a"), example("b", user="Another [1] [2]"), pair()) == [[], [], []]


def test_what_the_cutoff_removes():
    n_prompt, n_reply = 4 + 8 + 1, 2
    assert found(example(), cutoff=n_prompt + n_reply) == [[]]
    assert found(example(), cutoff=n_prompt + n_reply - 1) == [["truncated"]]
    # Behind the cut stand the turn of the reply, the last word and the identifier.
    assert found(example(), cutoff=n_prompt + n_reply - 3) == [["truncated", "target_lost"]]
    assert found(example(assistant="[1]"), cutoff=n_prompt + n_reply - 3) == [["truncated"]]
    assert found(example(role="generator"), cutoff=n_prompt + n_reply - 3) == [["truncated"]]


def test_pairs_that_become_equal():
    assert found(pair("a b c d e f g h", "a b c d e f g i"), cutoff=7)[0][-1] == "equal_sides"
    assert found(pair("yes", "yes ")) == [["equal_sides"]]


def test_pairs_whose_difference_the_cutoff_removes_from_both_replies():
    same = " ".join("abcdefgh")
    # A prompt of 7 tokens and replies of 10: of a cutoff of 15 the trainer keeps 8 for the reply, of one of 18 all 10.
    long = pair(f"{same} yes", f"{same} no", user="Question text [1] text [2]")
    assert found(long, cutoff=15) == [["truncated", "equal_sides"]]
    assert found(long, cutoff=18) == [[]]


LENGTHS = [(prompt, reply, cutoff) for prompt in (1, 7, 40, 100, 333) for reply in (1, 9, 50, 77) for cutoff in (16, 50, 99, 128)]


@with_trainer
def test_the_trainer_keeps_as_many_tokens_as_the_audit_reckons():
    code = (
        "from llamafactory.data.processor.processor_utils import infer_seqlen\n"
        "answer = [infer_seqlen(*lengths) for lengths in json.loads(sys.argv[1])]"
    )
    assert ask_trainer(code, LENGTHS) == [list(kept_lengths(*lengths)) for lengths in LENGTHS]


def test_empty_replies_and_control_tokens():
    assert found(example(assistant=" ")) == [["empty_reply"]]
    assert found(example(user="Question <tool> [1] [2]")) == [["control_token"]]
    assert found(example(assistant="<tool>")) == [["control_token"]]


def test_duplicates_and_contradictions():
    assert found(example("a"), example("b"), example("c", assistant="[1]"), example("d", assistant="[1]")) == [
        [],
        ["duplicate"],
        ["contradiction"],
        ["duplicate"],
    ]
    assert found(pair(), pair("[2]", "[1]")) == [[], []]


def test_every_finding_is_explained():
    names = {
        name
        for result in found(
            example("a", assistant=" "),
            example("b", user="<tool>"),
            example("c"),
            example("d"),
            example("e", assistant="[1]"),
            pair("x", "x "),
        )
        for name in result
    }
    names |= {name for result in found(example(), cutoff=10) for name in result}
    assert names == set(FINDINGS)


@pytest.mark.parametrize(
    ("one", "other", "n"), [([], [], 0), ([1], [], 0), ([1, 2], [1, 2], 2), ([1, 2, 3], [1, 2], 2), ([1, 3], [1, 2], 1)]
)
def test_what_two_sequences_have_in_common(one, other, n):
    assert n_common(one, other) == n == n_common(other, one)


@pytest.mark.parametrize(("lengths", "wanted"), [([], {}), ([7], [7, 7, 7, 7]), (list(range(1, 101)), [50, 90, 99, 100])])
def test_percentiles(lengths, wanted):
    assert list(percentiles(lengths).values()) == list(wanted)
