"""Control tokens of a tokenizer."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from dynamicrag_cli.adapters.engines import tokens
from dynamicrag_cli.adapters.engines.tokens import ChatEncoder, control_tokens
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.prompts import Chat
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
