"""Corpora of other projects: what an item holds, as the fields of passages, which the door admits."""

from collections.abc import Sequence

from dynamicrag_cli.core.exchange.parts import Item, candidate

# Where DPR's training data and retrieval results, and those of FiD and RankLLM, have a question's passages.
_LISTS = ("positive_ctxs", "negative_ctxs", "hard_negative_ctxs", "ctxs", "docs", "contexts", "candidates")
_DPR_COLUMNS = ("id", "text", "title")


def beir(item: Item) -> list[Item]:
    """A document of BEIR; one without a text (an abstract that is missing) is its title."""
    fields = {name: value for name, value in item.items() if name != "metadata"}
    if isinstance(item.get("metadata"), dict):
        fields["meta"] = item["metadata"]
    if not fields.get("text") and fields.get("title"):
        fields["title"], fields["text"] = "", fields["title"]
    return [fields]


def flashrag(item: Item) -> list[Item]:
    """A passage of FlashRAG: its title is the first line of `contents`."""
    return [{**{name: value for name, value in item.items() if name != "contents"}, **_fields(item)}]


def contexts(item: Item) -> list[Item]:
    """The passages of a question in DPR's form, positive and negative.

    Raises:
        ValueError: It has none, or one without a text.
    """
    lists = [item[name] for name in _LISTS if isinstance(item.get(name), list)]
    if not lists:
        raise ValueError(f"no list of passages (looked for {', '.join(_LISTS)})")
    return [_fields(doc) for docs in lists for doc in docs]


def _fields(doc: object) -> Item:
    found = candidate(doc)
    return {"id": found.id, "title": found.title, "text": found.text}


def columns(row: Sequence[str]) -> list[str] | None:
    """The names of a table's columns if this row is a header, else None."""
    names = [name.strip().lower() for name in row]
    return names if "id" in names and "text" in names else None


def from_row(row: Sequence[str], names: Sequence[str] = _DPR_COLUMNS) -> Item:
    """A row of a table; without a header its columns are DPR's: id, text and perhaps title.

    Raises:
        ValueError: It has more or fewer columns.
    """
    if len(row) != len(names) and (names is not _DPR_COLUMNS or len(row) != 2):
        raise ValueError(f"{len(row)} columns, expected {len(names)} ({', '.join(names)})")
    return dict(zip(names, row, strict=False))


def guess(item: Item) -> str | None:
    """The format of the corpus that this item is the first of, if its fields tell."""
    if any(isinstance(item.get(name), list) for name in _LISTS):
        return "dpr"
    if not item.keys() & {"id", "_id", "docid"}:
        return None
    if isinstance(item.get("contents"), str) and not item.keys() & {"title", "text"}:
        return "flashrag"
    if "_id" in item and "text" in item:
        return "beir"
    return "drag" if item.keys() & {"text", "contents", "passage"} else None
