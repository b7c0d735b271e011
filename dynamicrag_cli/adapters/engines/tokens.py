"""A model's tokenizer, without the model: its control tokens, and texts as token ids."""

from array import array
from collections.abc import Sequence
from typing import Any

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


# More than the prompts of a chunk and their windows; 2000 tokens take 8 kB beside their text.
_KEPT = 8192


class ChatEncoder:
    """Prompts as token ids, as the model's own chat template renders them, ready for the reply.

    Stages ask for the length of a prompt, perhaps several times, before they submit it, so what was encoded lately is kept.
    New prompts are encoded together, which tokenizers do on all cores.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.known: dict[Chat, array[int]] = {}

    def __call__(self, chats: Sequence[Chat]) -> list[list[int]]:
        """The token ids of each prompt."""
        if len(self.known) > _KEPT:
            self.known.clear()
        if new := [chat for chat in dict.fromkeys(chats) if chat not in self.known]:
            # A list of identifiers or an answer of ten tokens leaves no room for reasoning; templates without it ignore the word.
            texts = [
                self.tokenizer.apply_chat_template(
                    chat.messages(), tokenize=False, add_generation_prompt=True, enable_thinking=False
                )
                for chat in new
            ]
            if texts[0].rstrip().endswith("<think>"):
                raise InputError(
                    f"the chat template of {self.tokenizer.name_or_path!r} makes every reply begin with reasoning (<think>), for "
                    "which a list of identifiers or a short answer has no room; take a model that answers at once"
                )
            ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
            self.known.update(zip(new, (array("i", row) for row in ids), strict=True))
        return [self.known[chat].tolist() for chat in chats]


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
        self._encode = ChatEncoder(self.tokenizer)
        self.end = self._end()

    def prompt(self, chat: Chat) -> list[int]:
        """Token ids of a prompt, ready for the reply."""
        return self._encode([chat])[0]

    def reply(self, text: str) -> list[int]:
        """Token ids of a reply with all that the chat template puts behind it, as a trainer learns them."""
        return list(self.tokenizer(text + self.end, add_special_tokens=False)["input_ids"])

    def _end(self) -> str:
        """What the chat template puts behind a reply: the token that ends it, in ChatML also a line break."""
        turns = [*Chat("", "question").messages(), {"role": "assistant", "content": "reply"}]
        end = str(self.tokenizer.apply_chat_template(turns, tokenize=False)).rpartition("reply")[2]
        stop = self.tokenizer.eos_token or ""
        return end if stop in end else end + stop

    def text(self, ids: Sequence[int]) -> str:
        """The text of some token ids."""
        return str(self.tokenizer.decode(list(ids)))
