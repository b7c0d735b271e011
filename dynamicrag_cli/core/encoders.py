"""What a sentence encoder expects: a table by the name of the model, so that nobody has to remember prefixes and pooling.

A model is known by the last part of its hub id or folder. What the table says, the options of `drag index` override; what neither
says is taken from the model's own folder, and without that it is mean pooling, no prefix, and cosine.
"""

import re
from dataclasses import dataclass, replace

METRICS = ("cosine", "ip")
POOLINGS = ("mean", "cls", "max", "lasttoken")


@dataclass(frozen=True)
class Encoding:
    """How texts become vectors and how vectors are compared; None: what the model's folder says.

    Attributes:
        pooling: One of `POOLINGS`; it is for folders that bring no pooling of their own, or to override theirs.
        query_prefix: Stands before every question.
        passage_prefix: Stands before every passage.
        metric: `cosine`: vectors are scaled to unit length; `ip`: the inner product of vectors as they come out of the model.
    """

    pooling: str | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    metric: str | None = None


_INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
_BGE = "Represent this sentence for searching relevant passages: "

# The first pattern that is found in the name counts. What the authors of each model tell their users to do.
KNOWN: dict[str, Encoding] = {
    r"contriever": Encoding("mean", "", "", "ip"),
    r"e5-mistral|e5-7b": Encoding("lasttoken", _INSTRUCT, "", "cosine"),
    r"e5-.*instruct": Encoding("mean", _INSTRUCT, "", "cosine"),
    r"(^|-)e5-": Encoding("mean", "query: ", "passage: ", "cosine"),
    r"bge-m3": Encoding("cls", "", "", "cosine"),
    r"bge-.*-zh": Encoding("cls", "为这个句子生成表示以用于检索相关文章：", "", "cosine"),
    r"bge-": Encoding("cls", _BGE, "", "cosine"),
    r"gte-modernbert|gte-.*-v1\.5|gte-multilingual": Encoding("cls", "", "", "cosine"),
    r"gte-": Encoding("mean", "", "", "cosine"),
    r"dpr-(question|ctx)": Encoding("cls", "", "", "ip"),
    r"msmarco-.*-dot|multi-qa-.*-dot": Encoding(None, "", "", "ip"),
    r"minilm|mpnet": Encoding("mean", "", "", "cosine"),
}


def encoding_of(model: str, chosen: Encoding) -> tuple[str | None, Encoding]:
    """The pattern of the table that knows a model, if any does, and its row with what the user chose put over it."""
    name = model.rstrip("/").rpartition("/")[2].lower()
    pattern = next((pattern for pattern in KNOWN if re.search(pattern, name)), None)
    row = KNOWN[pattern] if pattern else Encoding()
    return pattern, replace(row, **{field: value for field, value in vars(chosen).items() if value is not None})
