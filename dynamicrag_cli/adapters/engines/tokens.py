"""A model's tokenizer, without the model: its control tokens, and texts as token ids."""

from collections.abc import Sequence

from transformers import AutoTokenizer

from dynamicrag_cli.adapters.pretrained import load
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.prompts import Chat


def control_tokens(model: str) -> frozenset[str]:
    """Every added token of the tokenizer (not only `all_special_tokens`).

    Raises:
        InputError: There is no such tokenizer.
    """
    return frozenset(load("tokenizer", model, AutoTokenizer.from_pretrained).get_added_vocab())


class ChatTokenizer:
    """Prompts and replies as the model's chat template makes them.

    Raises:
        InputError: There is no such tokenizer, or it has no chat template.
    """

    def __init__(self, model: str) -> None:
        self.tokenizer = load("tokenizer", model, AutoTokenizer.from_pretrained)
        if not self.tokenizer.chat_template:
            raise InputError(f"the tokenizer of {model!r} has no chat template; drag needs a chat (instruct) model")
        self.control_tokens = frozenset(self.tokenizer.get_added_vocab())

    def prompt(self, chat: Chat) -> list[int]:
        """Token ids of a prompt, ready for the reply."""
        text = self.tokenizer.apply_chat_template(chat.messages(), tokenize=False, add_generation_prompt=True)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def reply(self, text: str) -> list[int]:
        """Token ids of a reply with the token that ends it."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*ids, *([self.tokenizer.eos_token_id] if self.tokenizer.eos_token_id is not None else [])]

    def text(self, ids: Sequence[int]) -> str:
        """The text of some token ids."""
        return str(self.tokenizer.decode(list(ids)))
