"""The table of encoders: which row knows a model, and that what the user says wins."""

import pytest

from dynamicrag_cli.core.encoders import KNOWN, METRICS, POOLINGS, Encoding, encoding_of


@pytest.mark.parametrize(
    ("model", "pooling", "query", "passage", "metric"),
    [
        ("facebook/contriever-msmarco", "mean", "", "", "ip"),
        ("/models/contriever/", "mean", "", "", "ip"),
        ("intfloat/e5-base-v2", "mean", "query: ", "passage: ", "cosine"),
        ("intfloat/multilingual-e5-small", "mean", "query: ", "passage: ", "cosine"),
        ("BAAI/bge-large-en-v1.5", "cls", "Represent this sentence for searching relevant passages: ", "", "cosine"),
        ("BAAI/bge-m3", "cls", "", "", "cosine"),
        ("thenlper/gte-base", "mean", "", "", "cosine"),
        ("Alibaba-NLP/gte-base-en-v1.5", "cls", "", "", "cosine"),
        ("models/minilm-l6", "mean", "", "", "cosine"),
        ("sentence-transformers/all-mpnet-base-v2", "mean", "", "", "cosine"),
        ("sentence-transformers/multi-qa-mpnet-base-dot-v1", None, "", "", "ip"),
        ("sentence-transformers/facebook-dpr-question_encoder-single-nq-base", "cls", "", "", "ip"),
    ],
)
def test_known_families(model: str, pooling: str | None, query: str, passage: str, metric: str) -> None:
    family, encoding = encoding_of(model, Encoding())
    assert family in KNOWN
    assert encoding == Encoding(pooling, query, passage, metric)


def test_instructed_models_get_an_instruction_and_bare_passages() -> None:
    for model, pooling in (("intfloat/e5-mistral-7b-instruct", "lasttoken"), ("intfloat/multilingual-e5-large-instruct", "mean")):
        _, encoding = encoding_of(model, Encoding())
        assert (encoding.pooling, encoding.passage_prefix) == (pooling, "")
        assert encoding.query_prefix is not None
        assert encoding.query_prefix.endswith("\nQuery: ")


def test_what_the_user_says_wins_also_when_it_is_empty() -> None:
    _, encoding = encoding_of("intfloat/e5-base", Encoding(query_prefix="", metric="ip"))
    assert encoding == Encoding("mean", "", "passage: ", "ip")


def test_an_unknown_model_leaves_everything_to_its_folder() -> None:
    # The folder above it has the name of a family, the model itself has not.
    assert encoding_of("contriever/my-own", Encoding()) == (None, Encoding())
    assert encoding_of("some-bge5-x", Encoding())[0] is None


def test_every_row_is_complete_and_valid() -> None:
    for row in KNOWN.values():
        assert row.metric in METRICS
        assert row.pooling in {None, *POOLINGS}
        assert row.query_prefix is not None
        assert row.passage_prefix is not None
