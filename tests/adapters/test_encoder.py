"""The encoder gives unit vectors, the same for a text in any batch."""

from pathlib import Path

import numpy as np
import pytest

from dynamicrag_cli.adapters.encoder import encode, load_encoder
from dynamicrag_cli.core.errors import InputError

TEXTS = ["Danube", "The Danube begins at Donaueschingen in the Black Forest.", "Rhine", "None of these."]


def test_vectors_are_unit_and_do_not_depend_on_the_batch(tiny_encoder: Path) -> None:
    encoder = load_encoder(str(tiny_encoder), "cpu")
    vectors = encode(encoder, TEXTS, batch_size=4)
    assert (vectors.shape[0], vectors.dtype) == (4, np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert np.allclose(vectors, encode(encoder, TEXTS, batch_size=1), atol=1e-5)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-3)


def test_an_encoder_that_is_nowhere_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such encoder folder"):
        load_encoder(str(tmp_path / "nowhere"))
