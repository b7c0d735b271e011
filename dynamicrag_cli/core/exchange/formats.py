"""The table of formats of `drag convert`. A format is one row here and its functions beside it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dynamicrag_cli.core.exchange import predictions, released, trec
from dynamicrag_cli.core.exchange.parts import Item
from dynamicrag_cli.core.records import Prediction, Question, Record, RetrievedQuestion


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        summary: One line for `--help` and errors.
        read: An item, a name for one without an id, and the data set, to a record; None where that is not how it is read.
        write: A record as an item; None for a format that is only read, or made of lines.
        lines: A record as lines.
        takes: The record type that `write` and `lines` want.
        frame: What stands before, between and after the items in a file.
    """

    summary: str
    read: Callable[[Item, str, str | None], Record] | None = None
    write: Callable[[Any], Item] | None = None
    lines: Callable[[Any], Iterator[str]] | None = None
    takes: type[Record] = Prediction
    frame: tuple[bytes, bytes, bytes] = (b"", b"\n", b"\n")


_LIST = (b"[\n", b",\n", b"\n]\n")
FORMATS: dict[str, Format] = {
    "drag": Format("records of drag, JSONL", takes=Record),
    "trec-run": Format("qid Q0 docid rank score tag", lines=trec.run_lines, takes=RetrievedQuestion),
    "trec-qrels": Format("qid 0 docid grade", lines=trec.qrels_lines, takes=Question),
    "dynamicrag": Format(
        "predictions of the original, a JSON list", predictions.read_dynamicrag, predictions.write_dynamicrag, frame=_LIST
    ),
    "flashrag": Format("predictions of FlashRAG, JSONL", predictions.read_flashrag, predictions.write_flashrag),
    "alce": Format(
        "predictions of ALCE, JSON with data",
        predictions.read_alce,
        predictions.write_alce,
        frame=(b'{"data": [\n', b",\n", b"\n]}\n"),
    ),
    "dynamicrag-eval": Format("released evaluation data", released.read_evaluation),
    "dynamicrag-train": Format("released training data", released.read_training),
}
TREC = {"trec-run": trec.parse_run_line, "trec-qrels": trec.parse_qrels_line}
