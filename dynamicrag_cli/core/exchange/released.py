"""The evaluation and training data that DynamicRAG released, as records. Nothing is guessed from an id or a path."""

from dynamicrag_cli.core.exchange.parts import Item, candidates, question_fields, unique
from dynamicrag_cli.core.identifiers import WELL_FORMED, parse_selection
from dynamicrag_cli.core.records import ChatExample, LabelledQuestion, PreferencePair, Record, Relevance, RetrievedQuestion

# Its monoT5 was decoded to a word, so that a passage is either true or not.
_TEACHER = "monot5-words"


def read_evaluation(item: Item, name: str, dataset: str | None) -> RetrievedQuestion:
    """A question with its candidates `ctxs` (ASQA: `docs`); answers are `answers`, or the short ones of `qa_pairs`."""
    docs = unique(candidates(item.get("ctxs", item.get("docs"))))
    return RetrievedQuestion(**question_fields(item, name, dataset), docs=docs)


def read_training(item: Item, name: str, dataset: str | None) -> Record:
    """A question with the identifiers `true_id` of its relevant passages, an example for SFT, or a pair for DPO.

    Raises:
        ValueError: It is none of these.
    """
    if "chosen" in item and "rejected" in item:
        return _pair(item, name)
    if "output" in item and "instruction" in item:
        return _example(item, name)
    if "true_id" not in item:
        raise ValueError("neither a question with true_id, nor instruction with output, nor chosen with rejected")
    docs = candidates(item.get("docs", item.get("ctxs")))
    true = {docs[number - 1].id for number in item["true_id"] if 1 <= number <= len(docs)}
    docs = unique(docs)
    relevance = Relevance(teacher=_TEACHER, model=None, scores=[float(doc.id in true) for doc in docs], threshold=0.5)
    return LabelledQuestion(**question_fields(item, name, dataset), docs=docs, relevance=relevance)


def _example(item: Item, name: str) -> ChatExample:
    user = "\n".join(filter(None, (item["instruction"], item.get("input"))))
    reply = item["output"]
    return ChatExample(
        id=str(item.get("id", name)), role=_role(reply), system=item.get("system") or "", user=user, assistant=reply
    )


def _pair(item: Item, name: str) -> PreferencePair:
    """Its instruction is the system prompt, which its training put into the user turn; here it is the system turn."""
    return PreferencePair(
        id=str(item.get("id", name)),
        role=_role(item["chosen"]),
        system=item.get("system") or item["instruction"],
        user=item["input"] if not item.get("system") else "\n".join(filter(None, (item["instruction"], item["input"]))),
        chosen=item["chosen"],
        rejected=item["rejected"],
        margin=0.0,
    )


def _role(reply: str) -> str:
    """Who says this: a list of identifiers, or `None`, is the reranker's."""
    return "reranker" if parse_selection(reply, 10**6).status in WELL_FORMED else "generator"
