"""Predictions in the forms of the original DynamicRAG, FlashRAG and ALCE.

The original keeps all candidates and the identifiers that were chosen. FlashRAG and ALCE know only the passages that the reader
read, so these are the candidates of a prediction that comes from there, and all are chosen.
"""

from dynamicrag_cli.core.exchange.parts import Item, candidates, extras, first_text, passage, question_fields, unique
from dynamicrag_cli.core.identifiers import parse_selection
from dynamicrag_cli.core.records import Candidate, Prediction, Rollout

_NO_ANSWER = "the file holds no answer"


def read_dynamicrag(item: Item, name: str, dataset: str | None) -> Prediction:
    """`ctxs` (or `docs`) are the candidates, `id_list` the chosen identifiers, `response` the answer; the first list counts."""
    docs = candidates(item.get("ctxs", item.get("docs")))
    chosen = item.get("id_list")
    chosen = chosen[0] if isinstance(chosen, list) and chosen and isinstance(chosen[0], list) else chosen
    if not isinstance(chosen, list) or not all(isinstance(number, int) for number in chosen):
        raise ValueError("no id_list: a list of identifiers, or a list with such a list")
    reply = ", ".join(f"[{number}]" for number in chosen) or "None"
    selection = parse_selection(reply, len(docs))
    names = list(dict.fromkeys(docs[place].id for place in selection.positions))
    answer = first_text(item.get("response"))
    made = Rollout(
        selection=names, status=selection.status, raw=reply, answer=answer, error=None if answer is not None else _NO_ANSWER
    )
    return Prediction(**question_fields(item, name, dataset), docs=unique(docs), rollout=made, selector="dynamicrag")


def write_dynamicrag(record: Prediction) -> Item:
    """An entry of the list that the original's `evaluate.py` reads."""
    place = {doc.id: number for number, doc in enumerate(record.docs, start=1)}
    return {
        "id": record.id,
        "question": record.question,
        "answers": record.answers,
        "dataset": record.dataset,
        **extras(record.meta),
        "ctxs": [passage(doc) for doc in record.docs],
        "id_list": [[place[name] for name in record.rollout.selection]],
        "response": [record.rollout.answer or ""],
    }


def read_flashrag(item: Item, name: str, dataset: str | None) -> Prediction:
    """`golden_answers`, and in `output` the `retrieval_result` that the reader read and its answer `pred`."""
    output = item.get("output")
    if not isinstance(output, dict):
        raise ValueError("no output: an object with pred and retrieval_result")
    metadata = item.get("metadata") if isinstance(item.get("metadata"), dict) else {}
    fields = question_fields({**(metadata or {}), **item}, name, dataset)
    return _all_read(fields, candidates(output.get("retrieval_result", [])), first_text(output.get("pred")), "flashrag")


def write_flashrag(record: Prediction) -> Item:
    """An item as FlashRAG's evaluator reads it."""
    contents = [
        {
            "id": doc.id,
            "title": doc.title,
            "contents": f"{doc.title}\n{doc.text}",
            **({} if doc.score is None else {"score": doc.score}),
        }
        for doc in _read(record)
    ]
    return {
        "id": record.id,
        "question": record.question,
        "golden_answers": record.answers,
        "metadata": {"dataset": record.dataset, **extras(record.meta)},
        "output": {"retrieval_result": contents, "pred": record.rollout.answer or ""},
    }


def read_alce(item: Item, name: str, dataset: str | None) -> Prediction:
    """`docs` that the reader read and its answer `output`."""
    fields = question_fields(item, name, dataset)
    return _all_read(fields, candidates(item.get("docs", [])), first_text(item.get("output")), "alce")


def write_alce(record: Prediction) -> Item:
    """An entry of `data` as ALCE's `eval.py` reads it; `answer` is the long answer where there is one."""
    long_answers = record.meta.get("long_answers") or []
    return {
        "id": record.id,
        "question": record.question,
        "answer": next(iter([*long_answers, *record.answers]), ""),
        "answers": record.answers,
        "dataset": record.dataset,
        **extras(record.meta),
        **({"annotations": [{"long_answer": text} for text in long_answers]} if long_answers else {}),
        "docs": [passage(doc) for doc in _read(record)],
        "output": record.rollout.answer or "",
    }


def _read(record: Prediction) -> list[Candidate]:
    """The passages that the reader read, in its order."""
    by_name = {doc.id: doc for doc in record.docs}
    chosen = record.rollout.selection
    return [by_name[name] for name in chosen[: len(chosen) - record.rollout.n_unread]]


def _all_read(fields: Item, docs: list[Candidate], answer: str | None, selector: str) -> Prediction:
    docs = unique(docs)
    made = Rollout(
        selection=[doc.id for doc in docs],
        status="ok" if docs else "none",
        answer=answer,
        error=None if answer is not None else _NO_ANSWER,
    )
    return Prediction(**fields, docs=docs, rollout=made, selector=selector)
