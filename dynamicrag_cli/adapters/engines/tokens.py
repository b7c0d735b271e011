"""Control tokens of a model's tokenizer, without loading the model."""

from transformers import AutoTokenizer

from dynamicrag_cli.core.errors import InputError


def control_tokens(model: str) -> frozenset[str]:
    """Every added token of the tokenizer (not only `all_special_tokens`).

    Raises:
        InputError: There is no such tokenizer.
    """
    try:
        return frozenset(AutoTokenizer.from_pretrained(model).get_added_vocab())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot load the tokenizer {model!r}: {str(error).splitlines()[0]}") from error
