"""The cloning target `reader`: the shortest prefix of the teacher's order from which the reader answers right."""

from collections.abc import Sequence

from dynamicrag_cli.core.engine import Engine
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.metrics import METRICS
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import LabelledQuestion, Rollout
from dynamicrag_cli.core.targets import score_order
from dynamicrag_cli.core.tasks import is_right, task_of
from dynamicrag_cli.stages.rollouts import answer

Found = tuple[int, ...] | ValueError | None


def reader_targets(records: Sequence[LabelledQuestion], reader: Engine, prompts: PromptSet, max_passages: int) -> list[Found]:
    """Positions of the prefix; empty if the reader is right without any passage, None if no prefix helps it to the answer.

    Prefixes grow by one passage at a time, from none to `max_passages`, for all questions that are still open in one call of the
    engine. A question without gold answers has no target, and one for which the reader fails comes back as the error.
    """
    orders = [score_order(record.relevance.scores)[:max_passages] for record in records]
    found: list[Found] = [None] * len(records)
    still_open = [i for i, record in enumerate(records) if references(record)]
    for k in range(max_passages + 1):
        asked = [i for i in still_open if k <= len(orders[i])]
        if not asked:
            break
        chosen = [[_read(records[i], orders[i][:k])] for i in asked]
        still_open = []
        for i, (made,) in zip(asked, answer([records[i] for i in asked], chosen, reader, prompts), strict=True):
            if made.error is not None:
                found[i] = ValueError(f"the reader failed: {made.error}")
            elif _is_right(records[i], made.answer):
                found[i] = tuple(orders[i][:k])
            elif not made.n_unread:  # else the prompt is full: a longer prefix would be the same one
                still_open.append(i)
    return found


def _read(record: LabelledQuestion, positions: Sequence[int]) -> Rollout:
    return Rollout(selection=[record.docs[position].id for position in positions], status="ok" if positions else "none")


def _is_right(record: LabelledQuestion, text: str | None) -> bool:
    task = task_of(record.dataset)
    return text is not None and METRICS[is_right(task)](text, record.answers, record.meta, task) >= 1
