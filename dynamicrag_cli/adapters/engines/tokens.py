"""Control tokens of a model's tokenizer, without loading the model."""

from transformers import AutoTokenizer

from dynamicrag_cli.adapters.pretrained import load


def control_tokens(model: str) -> frozenset[str]:
    """Every added token of the tokenizer (not only `all_special_tokens`).

    Raises:
        InputError: There is no such tokenizer.
    """
    return frozenset(load("tokenizer", model, AutoTokenizer.from_pretrained).get_added_vocab())
