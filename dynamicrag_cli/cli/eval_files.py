"""What `drag eval` reads: gold questions, and files of predictions or candidates, one or several per system."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from dynamicrag_cli.adapters.files.jsonl import STREAM, Reader, lines
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.inspection import guess_kind
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.records import Prediction, Question, Record, Reject, RetrievedQuestion
from dynamicrag_cli.core.splits import split_of
from dynamicrag_cli.core.tasks import task_of

R = TypeVar("R", bound=Record)
_HEAD = 20
# Long answers to be worth a second process, and how many one is handed at a time.
_MANY_PARAGRAPHS = 1000
_AT_ONCE = 64


@dataclass
class Source:
    """One system as it was given: its name and its files (several are repeats of it).

    Attributes:
        unreadable: Lines of all files that could not be read.
    """

    name: str
    paths: list[str]
    unreadable: int = field(default=0)

    def read(self, path: str, kind: type[R]) -> Iterator[R]:
        """The records of one of the files; lines that are none are counted and the first is told."""
        bad = 0
        for item in Reader(path, kind):
            if isinstance(item, Reject):
                if not bad:
                    say(f"{path}, line {item.line} cannot be used: {item.reason}")
                bad += 1
            else:
                yield item
        if bad:
            say(f"{path}: {bad} lines could not be used; a question without another line counts as missing")
        self.unreadable += bad


def sources_of(texts: Iterable[str]) -> list[Source]:
    """Read `FILE` or `NAME=FILE,FILE,…` (repeats of one system with other seeds).

    Raises:
        UsageError: Two systems have one name, or a name has no files.
    """
    found = []
    for text in texts:
        name, equals, files = text.partition("=")
        if not equals or Path(text).exists():
            found.append(Source(_stem(text), [text]))
            continue
        paths = [path for path in files.split(",") if path]
        if not name or not paths:
            raise UsageError(f"{text!r} is neither a file nor NAME=FILE,FILE, such as sft=sft-1.jsonl,sft-2.jsonl")
        if len({*paths}) < len(paths):
            raise UsageError(f"{text!r} names a file twice")
        found.append(Source(name, paths))
    names = [source.name for source in found]
    if len({*names}) < len(names):
        raise UsageError(f"two prediction files have one name: {', '.join(names)}; rename one, or type NAME=FILE")
    return found


def _stem(path: str) -> str:
    name = Path(path).name
    for suffix in (".gz", ".zst", ".jsonl"):
        name = name.removesuffix(suffix)
    return name


def kind_of(sources: Iterable[Source]) -> type[RetrievedQuestion]:
    """`Prediction`, or `RetrievedQuestion` where no file holds predictions.

    Raises:
        InputError: Some files hold predictions and others candidates.
    """
    kinds: dict[str, type[Record] | None] = {}
    for source in sources:
        for path in source.paths:
            if path == STREAM:
                continue
            kinds[path] = guess_kind(line for _, line in islice(lines(path), _HEAD))
    ranked = [path for path, kind in kinds.items() if kind is not None and kind is not Prediction]
    if ranked and len(ranked) < len(kinds):
        others = ", ".join(path for path in kinds if path not in ranked)
        raise InputError(f"{', '.join(ranked)} hold no predictions, but {others} do; evaluate them in two calls")
    wrong = [path for path in ranked if not issubclass(kinds[path] or Record, RetrievedQuestion)]
    if wrong:
        found = getattr(kinds[wrong[0]], "__name__", "unknown")
        raise InputError(
            f"{wrong[0]} holds records of the kind {found}; eval reads Prediction (infer) or RetrievedQuestion (retrieve)"
        )
    return RetrievedQuestion if ranked else Prediction


def gold_questions(path: str, split: str | None, dev_share: float, seed: int, limit: int | None) -> dict[str, Question]:
    """The gold questions by id, in the order of the file.

    Raises:
        InputError: A line is no question, or has gold answers that cannot be read; or there is no question at all.
    """
    gold: dict[str, Question] = {}
    for number, item in Reader(path, Question).numbered():
        if isinstance(item, Reject):
            raise InputError(f"{path}, line {item.line}: {item.reason}")
        if split is not None and split_of(item, seed, dev_share) != split:
            continue
        try:
            references(item)
        except (AttributeError, TypeError) as error:
            raise InputError(f"{path}, line {number}: qa_pairs or long_answers cannot be read ({error})") from None
        gold[item.id] = item
        if limit and len(gold) >= limit:
            break
    if not gold:
        raise InputError(f"{path}: no gold questions{f' in the split {split}' if split else ''}")
    return gold


@contextmanager
def no_garbage() -> Iterator[None]:
    """Without the cycle collector: records form no cycles, and looking for some among 100k of them takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def many_hands(
    gold: dict[str, Question], metrics: list[str]
) -> Iterator[Callable[[Callable[[Any], Any], list[Any]], Iterable[Any]]]:
    """`map` on every core where there are many long answers to score (ROUGE), else `map` itself."""
    long = sum("rouge_l" in (metrics or task_of(question.dataset).metrics) for question in gold.values())
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if long < _MANY_PARAGRAPHS or workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda function, items: pool.map(function, items, chunksize=_AT_ONCE)
