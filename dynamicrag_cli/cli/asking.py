"""`drag infer --question`: one question for a person at a terminal, or for a program."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rich.panel import Panel
from rich.text import Text

from dynamicrag_cli.cli.console import err, json_text, one_line, printable, say, write_stdout
from dynamicrag_cli.cli.views import stop_story
from dynamicrag_cli.core.errors import EngineError, UsageError
from dynamicrag_cli.core.identifiers import STATUSES, WELL_FORMED
from dynamicrag_cli.core.records import Prediction, Question, RetrievedQuestion, Rollout
from dynamicrag_cli.stages import retrieve
from dynamicrag_cli.stages.outcome import Outcome
from dynamicrag_cli.stages.rollouts import Watcher


class Process(Protocol):
    """The stage of `infer`, with its models loaded."""

    def __call__(self, records: list[RetrievedQuestion], watcher: Watcher | None = None, /) -> Sequence[Outcome]:
        """One outcome per record."""
        ...


def answer_one(
    text: str,
    dataset: str,
    indexes: Callable[[], list[Any]] | None,
    top_k: int,
    prepare: Callable[[], Process],
    *,
    as_json: bool,
) -> None:
    """Retrieve, choose and answer; `indexes` opens what is to be searched.

    A person sees the chosen passages on stderr as soon as they are chosen, and on a terminal the answer while it is written,
    where the engine can tell it (`hf`). With `as_json` the prediction is one document on stdout.

    Raises:
        UsageError: There is no index or no question.
        EngineError: The engine failed, or the reply named nothing to answer from.
    """
    if indexes is None:
        raise UsageError("--question needs --index DIR, made by: drag index CORPUS -o DIR")
    if not text.strip():
        raise UsageError("the question is empty")
    asked = Question(id="question", question=text, answers=[], dataset=dataset)
    (record,) = retrieve.retrieve([asked], indexes(), top_k)
    person = _Person(hears=sys.stdout.isatty())
    try:
        (outcome,) = prepare()([record], None if as_json else person)
    finally:
        person.close()
    if not isinstance(outcome, Prediction):
        raise EngineError(str(outcome))
    if as_json:
        write_stdout(json_text(outcome))
        return
    if outcome.rollout.answer is None:
        raise EngineError("no answer: the reply names no passage; is --model trained to select (drag train sft)?")
    person.end(outcome.rollout.answer)


class _Person:
    """Shows what comes, when it comes; one that does not hear gets the answer at the end."""

    def __init__(self, *, hears: bool) -> None:
        self.hears = hears
        self.waiting = err.status("choosing")
        self.waiting.start()
        self.told = ""

    def close(self) -> None:
        """Stop the sign that something is going on."""
        self.waiting.stop()

    def chosen(self, record: RetrievedQuestion, rollout: Rollout) -> None:
        """The chosen passages, best first, and how the choice ended."""
        self.close()
        if rollout.error is not None:
            return
        by_id = {doc.id: (rank, doc) for rank, doc in enumerate(record.docs, start=1)}
        for number, name in enumerate(rollout.selection, start=1):
            rank, doc = by_id[name]
            score = "" if doc.score is None else f", score {doc.score:.3g}"
            title = Text(f" {number}. {one_line(doc.title or doc.id)} (retrieved as {rank} of {len(record.docs)}{score}) ")
            err.print(Panel(Text(printable(doc.text)), title=title, title_align="left"))
        if rollout.status not in WELL_FORMED:
            say(f"malformed reply of the reranker ({STATUSES[rollout.status]}): {rollout.raw!r}")
        elif not rollout.selection:
            say("no passage chosen")
        if story := stop_story(rollout):
            say(f"probability of stopping: {story}")

    def text(self, answer: str) -> None:
        """The answer so far; its last white space waits for what follows."""
        if not self.hears:
            return
        shown = printable(answer.strip().rstrip("\N{REPLACEMENT CHARACTER}"))
        if shown.startswith(self.told):
            sys.stdout.write(shown[len(self.told) :])
            sys.stdout.flush()
            self.told = shown

    def end(self, answer: str) -> None:
        """The whole answer, or what is lacking of it."""
        shown = printable(answer)
        write_stdout(shown[len(self.told) :] if shown.startswith(self.told) else f"\n{shown}")
