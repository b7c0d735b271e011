"""Control tokens of a tokenizer."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.engines.tokens import control_tokens
from dynamicrag_cli.core.errors import InputError
from tests.tiny_models import CONTROL_TOKENS


def test_every_added_token_is_a_control_token(tiny_lm: Path, tiny_encoder: Path) -> None:
    assert control_tokens(str(tiny_lm)) == {*CONTROL_TOKENS}
    assert control_tokens(str(tiny_encoder)) == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}


def test_a_folder_without_a_tokenizer_is_an_input_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="tokenizer"):
            control_tokens(str(folder))
