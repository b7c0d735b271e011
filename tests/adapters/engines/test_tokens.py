"""Control tokens of a tokenizer, and the tokens of prompts and replies."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from dynamicrag_cli.adapters.engines import tokens
from dynamicrag_cli.adapters.engines.tokens import ChatEncoder, ChatTokenizer, control_tokens
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.prompts import Chat
from tests.real_trainer import ask_trainer, with_trainer
from tests.tiny_models import CONTROL_TOKENS


def test_every_added_token_is_a_control_token(tiny_lm: Path, tiny_encoder: Path) -> None:
    assert control_tokens(str(tiny_lm)) == {*CONTROL_TOKENS}
    assert control_tokens(str(tiny_encoder)) == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}


def test_a_folder_without_a_tokenizer_is_an_input_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="tokenizer"):
            control_tokens(str(folder))


class Counting:
    """A tokenizer that keeps the texts it was given."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer, self.given = AutoTokenizer.from_pretrained(folder), []

    def apply_chat_template(self, *messages, **options):
        return self.tokenizer.apply_chat_template(*messages, **options)

    def __call__(self, texts, **options):
        self.given.append(texts)
        return self.tokenizer(texts, **options)


def test_a_prompt_is_encoded_once_together_with_the_other_new_ones(tiny_lm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(tiny_lm)
    encode = ChatEncoder(counting)
    one, two, three = (Chat("Be brief.", text) for text in ("Why?", "Where does the Danube rise?", "How?"))
    first = encode([one, two, one])
    assert encode([two, three, one]) == [first[1], *encode([three]), first[0]]
    assert [len(texts) for texts in counting.given] == [2, 1]
    assert first[0] == first[2] != first[1]
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    assert counting.tokenizer.decode(first[0]) == text
    assert encode([]) == []
    # What is kept is bounded, and what was forgotten is encoded again.
    monkeypatch.setattr(tokens, "_KEPT", 2)
    assert encode([one]) == first[:1]
    assert len(encode.known) == 1


def test_a_model_that_can_reason_is_asked_not_to(tiny_lm: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_lm)
    # As the template of Qwen3 has it.
    tokenizer.chat_template += (
        "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}"
        "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    )
    (prompt,) = ChatEncoder(tokenizer)([Chat("Be brief.", "Why?")])
    assert tokenizer.decode(prompt).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_a_model_that_always_reasons_is_refused(tiny_lm: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_lm)
    tokenizer.chat_template += "{% if add_generation_prompt %}{{ '<think>\\n' }}{% endif %}"
    with pytest.raises(InputError, match="makes every reply begin with reasoning"):
        ChatEncoder(tokenizer)([Chat("Be brief.", "Why?")])


def test_a_reply_ends_as_the_chat_template_ends_it(tiny_lm: Path) -> None:
    tokenizer = ChatTokenizer(str(tiny_lm))
    assert tokenizer.text(tokenizer.reply("[2], [1]")).endswith("[1]<|im_end|>\n")


ENCODE = """
from transformers import AutoTokenizer
from llamafactory.data.processor import PairwiseDatasetProcessor, SupervisedDatasetProcessor
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments
model, (system, user, *replies) = map(json.loads, sys.argv[1:])
tokenizer = AutoTokenizer.from_pretrained(model)
arguments = DataArguments(template="smollm2", cutoff_len=2048)
template = get_template_and_fix_tokenizer(tokenizer, arguments)
turns = [{"role": "user", "content": user}], [{"role": "assistant", "content": reply} for reply in replies], system
kinds = [(SupervisedDatasetProcessor, 1), (PairwiseDatasetProcessor, 2)]
answer = [
    kind(template, tokenizer, None, arguments)._encode_data_example(turns[0], turns[1][:n], system, None, [], [], [])
    for kind, n in kinds
]
"""


@with_trainer
def test_the_trainer_learns_the_reply_and_its_end_and_nothing_of_the_prompt(tiny_lm: Path) -> None:
    """What LLaMA-Factory's own processors make of an example and of a pair: our tokens, the prompt's without a label."""
    system, user, chosen, rejected = "Choose as in [2].", "Question: who?\n\nA café. [1]\n\nNeeded passages:", "[2], [1]", "None"
    example, pair = ask_trainer(ENCODE, str(tiny_lm), [system, user, chosen, rejected])
    tokenizer = ChatTokenizer(str(tiny_lm))
    prompt = tokenizer.prompt(Chat(system, user))
    sides = [tokenizer.reply(reply) for reply in (chosen, rejected)]
    taught = [[prompt + side, [-100] * len(prompt) + side] for side in sides]
    assert example == taught[0]
    assert pair == [*taught[0], *taught[1]]
