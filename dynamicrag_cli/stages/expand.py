"""`retrieve --expand`: pseudo-passages by a language model, and the search with them."""

from collections.abc import Sequence

import msgspec

from dynamicrag_cli.core.engine import ChatRequest, Engine, SamplingOptions
from dynamicrag_cli.core.expansion import QUERY2DOC
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import Question
from dynamicrag_cli.stages.outcome import Outcome
from dynamicrag_cli.stages.retrieve import Index, retrieve


def write_passages(
    questions: Sequence[Question], engine: Engine, prompts: PromptSet, options: SamplingOptions
) -> list[str | Exception]:
    """One passage per question, on one line; the error where the engine failed or wrote nothing."""
    requests = [ChatRequest(f"{QUERY2DOC}:{question.id}", prompts.query2doc(question.question)) for question in questions]
    written: list[str | Exception] = []
    for (reply,) in engine.chat(requests, options):
        text = " ".join(reply.said.split())
        if reply.error is not None:
            written.append(ValueError(f"the expansion failed: {reply.error}"))
        else:
            written.append(text or ValueError("the expansion failed: the model wrote nothing"))
    return written


def retrieve_expanded(
    questions: Sequence[Question],
    indexes: Sequence[Index],
    top_k: int,
    engine: Engine,
    prompts: PromptSet,
    options: SamplingOptions,
) -> list[Outcome]:
    """`retrieve` with the passages of a model, which stand in `meta.query2doc`.

    A question whose passage could not be written is rejected: found without it, it would stand among the others as if it had one.
    """
    written = write_passages(questions, engine, prompts, options)
    expanded = [
        msgspec.structs.replace(question, meta={**question.meta, QUERY2DOC: text})
        for question, text in zip(questions, written, strict=True)
        if isinstance(text, str)
    ]
    passages = [text for text in written if isinstance(text, str)]
    found = iter(retrieve(expanded, indexes, top_k, passages))
    return [next(found) if isinstance(text, str) else text for text in written]
