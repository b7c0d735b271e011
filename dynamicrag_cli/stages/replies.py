"""Asking the reranker for selections, under the constraint where there is one; after a malformed reply once more if wanted."""

from collections.abc import Sequence
from dataclasses import replace

from dynamicrag_cli.core.engine import ChatRequest, Completion, Engine, SamplingOptions
from dynamicrag_cli.core.identifiers import WELL_FORMED, Selection, parse_selection
from dynamicrag_cli.stages.budget import Fitted

# At temperature 0 the same prompt would get the same reply.
_RETRY_TEMPERATURE = 1.0


def ask_for_selections(
    keys: Sequence[str], fitted: Sequence[Fitted], engine: Engine, options: SamplingOptions
) -> list[list[Completion]]:
    """`options.n` replies per prompt: shape (len(keys), n). The constraint of a prompt is that of the passages it shows."""
    requests = [
        ChatRequest(key, shown.chat, options.choice.constraint(len(shown.docs))) for key, shown in zip(keys, fitted, strict=True)
    ]
    replies = engine.chat(requests, options)
    if options.choice.invalid != "retry-once":
        return replies
    malformed = [
        (row, sample)
        for row, group in enumerate(replies)
        for sample, reply in enumerate(group)
        if reply.error is None and read_selection(fitted[row], reply).status not in WELL_FORMED
    ]
    again = [replace(requests[row], key=f"{requests[row].key}:again:{sample}") for row, sample in malformed]
    second = engine.chat(again, replace(options, n=1, temperature=options.temperature or _RETRY_TEMPERATURE)) if again else []
    made = [list(group) for group in replies]
    for (row, sample), (reply,) in zip(malformed, second, strict=True):
        if reply.error is None and read_selection(fitted[row], reply).status in WELL_FORMED:
            made[row][sample] = reply
    return made


def read_selection(shown: Fitted, reply: Completion) -> Selection:
    """The selection of a reply to a prompt."""
    return parse_selection(reply.said, len(shown.docs), truncated=reply.finish_reason == "length")
