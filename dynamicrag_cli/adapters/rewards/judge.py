"""The judge term: an LLM grades the answer from 0 to 100; the grade is brought to [0, 1]."""

from collections.abc import Sequence

from dynamicrag_cli.core.engine import ChatRequest, Engine, SamplingOptions
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import RetrievedQuestion
from dynamicrag_cli.core.rewards import MAX_JUDGEMENT_TOKENS, parse_judgement


class Judge:
    """Grades answers through any engine; equal (question, answer) pairs are graded once."""

    def __init__(self, engine: Engine, prompts: PromptSet) -> None:
        self.engine, self.prompts = engine, prompts

    def __call__(self, jobs: Sequence[tuple[RetrievedQuestion, str]]) -> list[float | None]:
        """The grade of each answer in [0, 1]; None where the judge failed or gave no number."""
        distinct = {(record.id, answer): record for record, answer in jobs}
        requests = [
            ChatRequest(f"judge:{name}:{answer}", self.prompts.judge(record.question, references(record), answer))
            for (name, answer), record in distinct.items()
        ]
        replies = self.engine.chat(requests, SamplingOptions(max_new_tokens=MAX_JUDGEMENT_TOKENS))
        grades = {
            job: None if group[0].error else parse_judgement(group[0].said) for job, group in zip(distinct, replies, strict=True)
        }
        return [grades[(record.id, answer)] for record, answer in jobs]
