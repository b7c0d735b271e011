"""`drag show`."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, TypeVar

import typer

from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import json_text, printable, say, show_data, write_stdout
from dynamicrag_cli.cli.models import prompts_for, tokenizer_control_tokens
from dynamicrag_cli.cli.validate import Rows, identify, until_damage
from dynamicrag_cli.cli.views import record_view
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.inspection import Inspector
from dynamicrag_cli.core.prompts import Chat, PromptSet
from dynamicrag_cli.core.records import (
    ChatExample,
    Prediction,
    PreferencePair,
    Question,
    Record,
    RetrievedQuestion,
    Rollout,
    SampledQuestion,
)
from dynamicrag_cli.stages.rollouts import is_answerable, reader_prompt

T = TypeVar("T")


def show(
    file: opt.DataFile,
    kind: opt.RecordKind = None,
    wanted: Annotated[str | None, typer.Option("--id", metavar="ID", help="Start at the record with this id.")] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Records to show.")] = 1,
    prompt: Annotated[
        bool, typer.Option("--prompt", help="Print the prompts that the reranker and the generator are given for the record.")
    ] = False,
    rollout: Annotated[int, typer.Option(min=1, help="With --prompt: the rollout whose selection the generator reads.")] = 1,
    templates: opt.Templates = None,
    tokenizer: opt.Tokenizer = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per record.")] = False,
) -> None:
    """Show records of a file: question, candidates, what was chosen, answers, rewards, turns.

    Texts are shown without control characters. Of a record without a selection, --prompt shows the generator's prompt with all
    candidates.

    Example: drag show rewarded.jsonl --id q-17

    Example: drag show candidates.jsonl --prompt
    """
    prompts = prompts_for(templates, tokenizer_control_tokens(tokenizer)) if prompt else None
    damage: list[str] = []
    record_type, rows = identify(file, until_damage(file, damage), kind)
    n_shown = 0
    for number, record in islice(_readable(file, rows, Inspector(record_type), wanted), count):
        if n_shown and not as_json:
            write_stdout("")
        _show(record, number, prompts, rollout, as_json=as_json)
        n_shown += 1
    if n_shown < count and damage:
        raise InputError(damage[0])
    if not n_shown:
        raise InputError(f"{file}: " + ("no record can be shown" if wanted is None else f"no record has the id {wanted!r}"))


def _readable(file: str, rows: Rows, inspector: Inspector, wanted: str | None) -> Iterator[tuple[int, Record]]:
    """Line numbers and records, from the one with the wanted id on; lines that are no records are told and left out."""
    started = wanted is None
    for number, line in rows:
        record, name, findings = inspector.read(line)
        is_wanted = not started and name == wanted
        started = started or is_wanted
        if record is not None and started:
            yield number, record
        elif record is None and (started or name is None):
            where = f"{file}, line {number}: " + f"{findings[0].field} {findings[0].reason}".strip()
            if is_wanted:
                raise InputError(f"{where}; drag validate lists all problems")
            say(where)


def _show(record: Record, line: int, prompts: PromptSet | None, rollout: int, *, as_json: bool) -> None:
    if prompts is None and as_json:
        write_stdout(json_text(record))
    elif prompts is None:
        show_data(record_view(record, line))
    else:
        made = _prompts(record, prompts, rollout)
        if as_json:
            turns: dict[str, Any] = {role: chat and {"system": chat.system, "user": chat.user} for role, chat in made.items()}
            write_stdout(json_text({"id": getattr(record, "id", None), "prompts": turns}))
            return
        for role, chat in made.items():
            write_stdout(_prompt_text(role, chat))


def _prompt_text(role: str, chat: Chat | None) -> str:
    if chat is None:
        return f"--- {role}: is not asked, since the selection failed"
    return "\n".join(f"--- {role}, {turn['role']}\n{printable(turn['content'])}" for turn in chat.messages())


def _prompts(record: Record, prompts: PromptSet, rollout: int) -> dict[str, Chat | None]:
    """Prompts by role, as the stages render them; None for a generator that is not asked."""
    if isinstance(record, ChatExample | PreferencePair):
        return {record.role: Chat(record.system, record.user)}
    if isinstance(record, RetrievedQuestion):
        made = _rollout_of(record, rollout)
        return {"reranker": _reranker_prompt(record, made, prompts), "generator": _generator_prompt(record, made, prompts)}
    if isinstance(record, Question):
        return {"generator": prompts.generator(record, [])}
    raise UsageError(f"no prompt is made of a {type(record).__name__}; --prompt takes questions and examples")


def _rollout_of(record: RetrievedQuestion, number: int) -> Rollout | None:
    """The rollout whose prompts are asked for; None where nothing was chosen yet."""
    if isinstance(record, Prediction):
        return record.rollout
    if not isinstance(record, SampledQuestion):
        return None
    if number > len(record.rollouts):
        raise UsageError(f"--rollout {number}: the question {record.id!r} has {len(record.rollouts)} rollouts")
    return record.rollouts[number - 1]


def _reranker_prompt(record: RetrievedQuestion, made: Rollout | None, prompts: PromptSet) -> Chat:
    """With the candidates that fitted when the rollout was made."""
    if made and made.cut:
        say(f"{record.id}: a passage was cut to fit into the model's context; the prompts below hold it whole")
    if made and made.window is not None:
        say(f"{record.id}: the last of {made.n_calls} prompts, with the candidates that were left")
    shown = record.docs if made is None or made.window is None else [doc for doc in record.docs if doc.id in made.window]
    return prompts.reranker(record.question, _without_last(shown, made.n_unseen if made else 0))


def _generator_prompt(record: RetrievedQuestion, made: Rollout | None, prompts: PromptSet) -> Chat | None:
    """From the chosen passages that fitted, or from all candidates where nothing was chosen yet."""
    if made is None:
        return reader_prompt(record, [doc.id for doc in record.docs], prompts)
    return reader_prompt(record, _without_last(made.selection, made.n_unread), prompts) if is_answerable(made) else None


def _without_last(items: Sequence[T], count: int) -> Sequence[T]:
    return items[: max(len(items) - count, 0)]
