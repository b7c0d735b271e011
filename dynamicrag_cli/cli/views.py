"""Records as people read them. Texts are shown as text: nothing in them is markup or moves the terminal."""

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dynamicrag_cli.cli.console import json_text, one_line, printable
from dynamicrag_cli.core.identifiers import STATUSES, WELL_FORMED, format_selection
from dynamicrag_cli.core.records import (
    Candidate,
    ChatExample,
    Passage,
    Prediction,
    PreferencePair,
    Question,
    QuestionScores,
    Record,
    Reject,
    RetrievedQuestion,
    RewardedQuestion,
    Rollout,
    SampledQuestion,
)

# Characters of a candidate's text, and of an answer in a table.
_SHORT = 240
# Columns whose cells may take several lines.
_LONG = ("candidate", "selection, status, answer")


def record_view(record: Record, line: int) -> RenderableType:
    """A record with everything that is in it; candidates' texts are shortened."""
    name = getattr(record, "id", None)
    parts: list[RenderableType] = [Text(f"{type(record).__name__} {one_line(name or '')} (line {line})", style="bold reverse")]
    if isinstance(record, Question):
        parts += _question_parts(record)
    elif isinstance(record, Passage):
        parts += [_facts({"title": record.title}), _turn("text", record.text)]
    elif isinstance(record, ChatExample):
        parts.append(_facts({"role": record.role, "lesson": str(record.lesson) if record.lesson else None}))
        parts += [_turn(name, getattr(record, name)) for name in ("system", "user", "assistant")]
    elif isinstance(record, PreferencePair):
        parts.append(_facts({"role": record.role, "margin": _number(record.margin)}))
        parts += [_turn(name, getattr(record, name)) for name in ("system", "user", "chosen", "rejected")]
    elif isinstance(record, QuestionScores):
        parts.append(_facts({"system": record.system, "dataset": record.dataset}))
        parts.append(_facts({name: _number(score) for name, score in record.scores.items()}))
    elif isinstance(record, Reject):
        parts.append(_facts({"rejected line": str(record.line), "reason": record.reason, "record": record.record}))
    meta = getattr(record, "meta", None)
    if meta:
        parts.append(_facts({"meta": json_text(meta)}))
    return Group(*parts)


def _question_parts(record: Question) -> list[RenderableType]:
    facts: dict[str, str | None] = {
        "question": record.question,
        "answers": " | ".join(record.answers) or "(none)",
        "dataset": record.dataset + (f", split {record.split}" if record.split else ""),
        "gold": _gold(record),
    }
    if not isinstance(record, RetrievedQuestion):
        return [_facts(facts)]
    if record.relevance is not None:
        teacher = record.relevance
        model = f" ({teacher.model})" if teacher.model else ""
        threshold = f", threshold {_number(teacher.threshold)}" if teacher.threshold is not None else ""
        facts["relevance"] = f"by {teacher.teacher}{model}{threshold}"
    if isinstance(record, Prediction):
        return [_facts(facts), _candidates(record, _ranks(record.rollout)), _facts(_prediction_facts(record))]
    if isinstance(record, SampledQuestion):
        return [_facts(facts), _candidates(record, _shares(record.rollouts)), _rollouts(record)]
    return [_facts(facts), _candidates(record, {})]


def _gold(record: Question) -> str | None:
    """What is known of the gold passages; None where nothing is."""
    if record.gold_passage_ids is None:
        return None
    known = {doc.id for doc in record.docs} if isinstance(record, RetrievedQuestion) else None
    names = [name if known is None or name in known else f"{name} (no candidate)" for name in record.gold_passage_ids]
    return ", ".join(names) or "no passage is needed"


def _ranks(rollout: Rollout) -> dict[str, str]:
    return {name: f"{rank}." for rank, name in enumerate(rollout.selection, start=1)}


def _shares(rollouts: Sequence[Rollout]) -> dict[str, str]:
    """How many of the rollouts chose a passage."""
    counts = Counter(name for rollout in rollouts for name in rollout.selection)
    return {name: f"{count} of {len(rollouts)}" for name, count in counts.items()}


def _candidates(record: RetrievedQuestion, chosen: dict[str, str]) -> RenderableType:
    if not record.docs:
        return Text("no candidates")
    gold = {*(record.gold_passage_ids or [])}
    scores = record.relevance.scores if record.relevance else [None] * len(record.docs)
    columns = ["", *(["gold"] if gold else []), *(["chosen"] if chosen else []), "candidate", "score"]
    table = _table(*columns, *(["relevance"] if record.relevance else []))
    for rank, (doc, relevance) in enumerate(zip(record.docs, scores, strict=True), start=1):
        is_gold, place = doc.id in gold, chosen.get(doc.id, "")
        cells: list[RenderableType] = [Text(f"[{rank}]")]
        cells += [Text("gold" if is_gold else "", style="green")] if gold else []
        cells += [Text(place, style="bold")] if chosen else []
        cells += [_passage(doc), Text(_number(doc.score))]
        cells += [Text(_number(relevance))] if record.relevance else []
        table.add_row(*cells)
    return table


def _passage(doc: Candidate) -> Text:
    heading = Text(one_line(doc.id), style="bold")
    return heading.append(f" {one_line(doc.title)}\n", style="not bold").append(_short(doc.text), style="not bold dim")


def _prediction_facts(record: Prediction) -> dict[str, str | None]:
    rollout = record.rollout
    return {
        "selector": record.selector,
        "chosen": _selection(rollout, record.docs),
        "status": f"{rollout.status} ({STATUSES.get(rollout.status, 'unknown')})",
        "reply": rollout.raw,
        "P(stop)": stop_story(rollout),
        "answer": rollout.answer if rollout.answer is not None else "(none)",
        "error": rollout.error,
        "read": f"{rollout.n_reader_tokens} tokens" if rollout.n_reader_tokens is not None else None,
        "left out": _left_out(rollout) or None,
        "windows": f"{rollout.n_calls} prompts, {rollout.n_fallbacks} of them without a choice" if rollout.n_calls else None,
    }


def stop_story(rollout: Rollout) -> str | None:
    """The probabilities of stopping, and where; None where the reply was not constrained."""
    if not rollout.stop_probs:
        return None
    return ", ".join(f"{f'after {n}' if n else 'None'}: {chance:.3f}" for n, chance in enumerate(rollout.stop_probs))


def _left_out(rollout: Rollout) -> str:
    """What did not fit into the prompts."""
    facts = {f"{rollout.n_unseen} unseen": rollout.n_unseen, f"{rollout.n_unread} unread": rollout.n_unread, "cut": rollout.cut}
    return ", ".join(fact for fact, holds in facts.items() if holds)


def _rollouts(record: SampledQuestion) -> RenderableType:
    """One row per rollout, with the terms of its reward where there are rewards."""
    rewards = record.rewards if isinstance(record, RewardedQuestion) else []
    terms = list(dict.fromkeys(name for reward in rewards for name in reward.terms))
    table = _table("", "selection, status, answer", *map(one_line, terms), *(["total"] if rewards else []))
    for number, rollout in enumerate(record.rollouts, start=1):
        answer = rollout.answer if rollout.answer is not None else f"(none) {rollout.error or ''}"
        made = Text(_selection(rollout, record.docs), style="bold")
        status = ", ".join(filter(None, (one_line(rollout.status), _left_out(rollout))))
        made.append(f" ({status})\n", style="not bold" if rollout.status in WELL_FORMED else "not bold red")
        cells = [Text(str(number)), made.append(_short(answer), style="not bold")]
        if rewards:
            reward = rewards[number - 1]
            cells += [Text(_number(reward.terms.get(name))) for name in terms] + [Text(_number(reward.total), style="bold")]
        table.add_row(*cells)
    return table


def _selection(rollout: Rollout, docs: Sequence[Candidate]) -> str:
    """The selection as the identifiers that the candidates have in retrieval order."""
    if not rollout.selection and rollout.status not in WELL_FORMED:
        return "-"
    place = {doc.id: position for position, doc in enumerate(docs)}
    return format_selection([place[name] for name in rollout.selection])


def _table(*titles: str) -> Table:
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    for title in titles:
        # Long words are folded and never cropped; short cells leave the width to them.
        table.add_column(Text(title), overflow="fold", no_wrap=title not in _LONG)
    return table


def _facts(facts: dict[str, str | None]) -> Table:
    """Names and values; what is None is left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            table.add_row(Text(one_line(name)), Text(printable(value)))
    return table


def _turn(title: str, text: str) -> Panel:
    return Panel(Text(printable(text)), title=Text(title), title_align="left")


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]} …"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
