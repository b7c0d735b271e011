"""`drag audit`, and the gate before a training."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.bar import Bar
from rich.table import Table

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.files.jsonl import Reader
from dynamicrag_cli.adapters.trainers.llamafactory import Check
from dynamicrag_cli.adapters.trainers.mixing import MIX
from dynamicrag_cli.adapters.trainers.registration import known_datasets
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import progress, say, show_table, write_stdout
from dynamicrag_cli.cli.outputs import check_output, write_whole
from dynamicrag_cli.core.audit import FINDINGS, Auditor, Tokens, n_common, percentiles
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.prompts import Chat
from dynamicrag_cli.core.records import ChatExample, PreferencePair, Reject

_BINS = 12
_SHOWN = 5
_SHOWN_TOKENS = 15


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        lengths: Tokens of every example, by file stem.
        bad: Ids of the examples with findings, by file stem, with what was found.
    """

    lengths: dict[str, list[int]] = field(default_factory=dict)
    bad: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    @property
    def n_examples(self) -> int:
        """Examples looked at."""
        return sum(map(len, self.lengths.values()))

    @property
    def n_bad(self) -> int:
        """Examples with at least one finding."""
        return sum(map(len, self.bad.values()))

    def counts(self) -> dict[str, int]:
        """How often each thing was found."""
        return dict(Counter(name for found in self.bad.values() for names in found.values() for name in names))

    def document(self, cutoff: int) -> dict[str, Any]:
        """The audit as data: lengths, counts, and every bad example with its reasons."""
        files = {stem: {"examples": len(values), "tokens": percentiles(values)} for stem, values in self.lengths.items()}
        return {"cutoff": cutoff, "files": files, "findings": self.counts(), "bad": self.bad}


def chat_tokenizer(model: str) -> Tokens:
    """A model's tokenizer with its chat template.

    Raises:
        InputError: The model has none here.
    """
    entry = registry.Entry("engines.tokens:ChatTokenizer", "local", "")
    tokenizer: Tokens = registry.load("tokenizer", "chat", {"chat": entry})(model)
    return tokenizer


def prompt_check(model: str, template: str, file: Path, kind: type[ChatExample | PreferencePair]) -> Check:
    """Whether the trainer writes a file's first example as inference does: by the model's own chat template.

    What it gives back takes the token ids of that example, and raises UsageError if they are another prompt or reply,
    InputError if there is no such example.
    """

    def check(ids: list[int] | None) -> None:
        if ids is None:
            say("train: the trainer has shown no example, so whether its prompts are those of inference is not known")
            return
        example = next(iter(Reader(str(file), kind)))
        if isinstance(example, Reject):
            raise InputError(f"{file}, line {example.line}: {example.reason}")
        tokenizer = chat_tokenizer(model)
        reply = tokenizer.reply(example.assistant if isinstance(example, ChatExample) else example.chosen)
        wanted = [*tokenizer.prompt(Chat(example.system, example.user)), *reply]
        place = n_common(ids, wanted)
        # How a turn ends is the trainer's affair: some put a line break behind it.
        if place < len(wanted) - len(tokenizer.reply("")):
            theirs, ours = (tokenizer.text(side[place:][:_SHOWN_TOKENS]) for side in (ids, wanted))
            raise UsageError(
                f"--template {template} writes prompts otherwise than the chat template of {model}, which inference uses: from "
                f"token {place} on {theirs!r} where it has {ours!r}. Type LLaMA-Factory's name of this model's template, or "
                "--no-check-prompts to train so all the same"
            )

    return check


def look(data: Path, stems: list[str], model: str, cutoff: int, mixed: Sequence[ChatExample] = ()) -> Audit:
    """Audit some files of a data folder, and what is mixed in, with a model's tokenizer.

    Raises:
        InputError: A line is no example, or the model has no tokenizer here.
    """
    tokenizer = chat_tokenizer(model)
    audit = Audit()
    with progress("audit", None) as bar:
        sources: dict[str, Iterable[Any]] = {
            stem: Reader(str(data / f"{stem}.jsonl"), PreferencePair if stem.endswith("_dpo") else ChatExample) for stem in stems
        }
        for stem, examples in {**sources, **({MIX: mixed} if mixed else {})}.items():
            auditor = Auditor(tokenizer, cutoff)
            found: dict[str, list[str]] = {}
            for item in examples:
                if isinstance(item, Reject):
                    raise InputError(f"{data / stem}.jsonl, line {item.line}: {item.reason}")
                if names := auditor.look(item):
                    found[item.id] = names
                bar.advance(1)
            audit.lengths[stem] = auditor.lengths
            audit.bad[stem] = found
    return audit


def audit(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder made by build-bc or build-dpo.", show_default=False)],
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="The model that is to be trained, for its tokenizer.", show_default=False)
    ],
    cutoff: Annotated[int, typer.Option(min=16, help="Tokens after which the trainer cuts an example.")] = 8192,
    max_bad_share: opt.MaxBadShare = 0.0,
    output: Annotated[str, typer.Option("--output", "-o", metavar="REPORT", help="One JSON document (- for stdout).")] = "-",
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Audit training data before any training: what the cutoff removes, what contradicts itself, what teaches nothing.

    Exits with 4 if the share of bad examples is above --max-bad-share; `drag train` looks the same way and drops them.

    Example: drag audit bc --model models/smollm2-135m --cutoff 1024 -o audit.json
    """
    check_output(output, ())
    found = look(data, known_datasets(data), model, cutoff)
    for stem, lengths in found.lengths.items():
        show_table(_histogram(stem, lengths, cutoff))
    document = json.dumps(found.document(cutoff), indent=2, ensure_ascii=False)
    if output == "-":
        write_stdout(document)
    else:
        write_whole(Path(output), document + "\n")
    tell(found)
    check_share(found, max_bad_share, data)


def tell(found: Audit) -> None:
    """What was found, with some ids, for people."""
    say(f"audit: {found.n_examples} examples, {found.n_bad} bad")
    for name, count in sorted(found.counts().items()):
        ids = [key for bad in found.bad.values() for key, names in bad.items() if name in names]
        say(f"  {count:>6}  {name}: {FINDINGS[name]} ({', '.join(ids[:_SHOWN])}{' …' if len(ids) > _SHOWN else ''})")


def check_share(found: Audit, max_bad_share: float, data: Path) -> None:
    """Refuse data with too many bad examples.

    Raises:
        InputError: Their share is above the limit.
    """
    if found.n_examples and found.n_bad / found.n_examples > max_bad_share:
        raise InputError(
            f"{data}: {found.n_bad} of {found.n_examples} examples are bad, more than --max-bad-share {max_bad_share} allows; "
            "see above, and drag audit for all of them"
        )


def _histogram(stem: str, lengths: list[int], cutoff: int) -> Table:
    """Examples by length; the cutoff is marked where it falls."""
    table = Table(title=f"{stem}: tokens of {len(lengths)} examples", box=None, title_justify="left", header_style="bold")
    table.add_column("tokens", justify="right")
    table.add_column("examples", justify="right")
    table.add_column("")
    top = max(lengths, default=0)
    width = max(-(-(top + 1) // _BINS), 1)
    counts = Counter(length // width for length in lengths)
    for place in range(top // width + 1):
        low, high = place * width, (place + 1) * width - 1
        mark = "  <- cutoff" if low <= cutoff <= high else ""
        table.add_row(f"{low}-{high}{mark}", str(counts[place]), Bar(max(counts.values()), 0, counts[place], width=40))
    shown = ", ".join(f"{name} {value}" for name, value in percentiles(lengths).items())
    table.caption = f"{shown}; cutoff {cutoff}"
    return table
