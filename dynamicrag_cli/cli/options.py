"""Options that several commands share: one definition each, which is the flag, the YAML key and the manifest key.

Options in the panel "Running" say how a command runs and never change its result; all others are part of its fingerprint.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters.engines.settings import check_address
from dynamicrag_cli.adapters.registry import ENGINES, RUNNERS, describe
from dynamicrag_cli.cli import config
from dynamicrag_cli.core.errors import UsageError, unknown_name
from dynamicrag_cli.core.grammar import INVALID
from dynamicrag_cli.core.records import KINDS
from dynamicrag_cli.core.selectors import parse_selector
from dynamicrag_cli.core.shards import parse_shard

RUNNING = "Running"


def one_of(kind: str, names: Iterable[str]) -> Callable[[object], str]:
    """A parser for an option that takes one of some names; it tells the nearest valid one."""
    known = sorted(names)

    def parse(value: object) -> str:
        # A pipeline file may hold a number or a boolean where a word belongs.
        if str(value) not in known:
            raise typer.BadParameter(str(unknown_name(kind, str(value), known)))
        return str(value)

    return parse


def checked(parse: Callable[[str], object]) -> Callable[[object], str]:
    """A parser that keeps the text and only checks that `parse` accepts it."""

    def check(value: object) -> str:
        try:
            parse(str(value))
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None
        return str(value)

    return check


Source = Annotated[str, typer.Argument(metavar="IN", help="Input JSONL (.gz and .zst by name, - for stdin).", show_default=False)]
DataFile = Annotated[
    str, typer.Argument(metavar="FILE", help="JSONL file (.gz and .zst by name, - for stdin).", show_default=False)
]
RecordKind = Annotated[
    str | None,
    typer.Option(
        "--as",
        parser=one_of("record", KINDS),
        metavar="RECORD",
        help="What the lines are, such as Passage; drag schema lists the names (default: guessed from the first lines).",
    ),
]
Output = Annotated[str, typer.Option("--output", "-o", metavar="OUT", help="Output JSONL (.gz and .zst by name, - for stdout).")]
OutputDir = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Output folder.", show_default=False)]

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=config.on_config,
        help="Pipeline file whose section for this command gives defaults.",
        rich_help_panel=RUNNING,
    ),
]
Variant = Annotated[
    str | None,
    typer.Option(
        "--variant",
        metavar="NAME",
        is_eager=True,
        callback=config.on_variant,
        help="Named variant of the section.",
        rich_help_panel=RUNNING,
    ),
]
Chunk = Annotated[
    int, typer.Option(min=1, help="Records handed to the stage, and written to the disk, at a time.", rich_help_panel=RUNNING)
]
MaxRejectRate = Annotated[
    float, typer.Option(min=0, max=1, help="Share of rejected records above which the exit code is 6.", rich_help_panel=RUNNING)
]
MaxBadShare = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Share of bad training examples (drag audit) above which the command stops.", rich_help_panel=RUNNING
    ),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start anew, whatever an earlier run has left.", rich_help_panel=RUNNING)]
BatchSize = Annotated[int, typer.Option(min=1, help="Texts per batch of the encoder or teacher.", rich_help_panel=RUNNING)]
Device = Annotated[
    str | None,
    typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1 …; chosen by itself if not given.", rich_help_panel=RUNNING),
]
Nprobe = Annotated[
    int | None,
    typer.Option(min=1, help="dense: lists of an inverted file that are searched (default: recorded in the index)."),
]
EfSearch = Annotated[
    int | None,
    typer.Option(min=1, help="dense: candidates that an HNSW search keeps (default: recorded in the index)."),
]
# It must be what an index was built with, so it changes no result.
Encoder = Annotated[
    list[str] | None,
    typer.Option(
        metavar="DIR",
        help="dense: where a copy of the encoder lies, if not where it lay when the index was built; repeat it for several.",
        rich_help_panel=RUNNING,
    ),
]
Refine = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="dense: find so many times top-k passages and score them exactly from the stored vectors (default: recorded in "
        "the index; 1: no).",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Read only the first N records.")]
Shard = Annotated[
    str | None,
    typer.Option(parser=checked(parse_shard), metavar="I/N", help="Do only the I-th of N parts (by id); see drag merge."),
]
Reuse = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        help="Take finished records from outputs or .partial files of the same run in other shards (also '*').",
        rich_help_panel=RUNNING,
    ),
]
Cache = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|none",
        help="Greedy replies are kept in this SQLite file and not asked for again (default: none; docs/formats.md).",
        rich_help_panel=RUNNING,
    ),
]
RunnerName = Annotated[
    str,
    typer.Option(
        "--runner",
        parser=one_of("runner", ("local", *RUNNERS)),
        metavar="NAME",
        help=f"Who works: local: this process; {describe(RUNNERS)}; see docs/cluster.md.",
        rich_help_panel=RUNNING,
    ),
]
Workers = Annotated[int, typer.Option(min=1, help="ray: worker processes, each with its own models.", rich_help_panel=RUNNING)]
WorkerGpus = Annotated[
    float, typer.Option(min=0, help="ray: GPUs of each worker (a share such as 0.5 too).", rich_help_panel=RUNNING)
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT|auto",
        help="ray: the cluster (default: $RAY_ADDRESS, else one is started here for this run).",
        rich_help_panel=RUNNING,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Tell start and end of the run as JSON lines on stdout.", rich_help_panel=RUNNING)
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
Split = Annotated[
    str | None,
    typer.Option(
        parser=one_of("split", ("train", "dev", "test")), metavar="train|dev|test", help="Use only the questions of this split."
    ),
]
DevShare = Annotated[float, typer.Option(min=0, max=1, help="Share of questions without a split that go to dev.")]
Templates = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Template folder; files that it lacks are taken from the default one.")
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL", help="Model whose control tokens are neutralised in texts (default: the common chat families)."
    ),
]
Model = Annotated[
    str, typer.Option(metavar="MODEL", help="The reranker: a model folder, hub id or endpoint's model name.", show_default=False)
]
Reader = Annotated[str | None, typer.Option(metavar="MODEL", help="The model that answers (default: --model).")]
EngineName = Annotated[
    str,
    typer.Option("--engine", parser=one_of("engine", ENGINES), metavar="NAME", help=f"What generates text: {describe(ENGINES)}."),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        parser=one_of("dtype", ("float32", "bfloat16", "float16")),
        metavar="DTYPE",
        help="float32, bfloat16 or float16 (default: bfloat16 on a GPU, float32 on a CPU).",
    ),
]
MaxModelLen = Annotated[int | None, typer.Option(min=64, help="Context length in tokens (default: the model's own).")]
BatchTokens = Annotated[
    int, typer.Option(min=1, help="hf: tokens per batch, samples and padding included.", rich_help_panel=RUNNING)
]
Concurrency = Annotated[int, typer.Option(min=1, help="openai: requests in flight.", rich_help_panel=RUNNING)]
TimeoutS = Annotated[
    float,
    typer.Option(min=0.1, help="openai: seconds before a request counts as failed and is sent again.", rich_help_panel=RUNNING),
]
Gpus = Annotated[int, typer.Option(min=1, help="vllm: GPUs that share one copy of the model.", rich_help_panel=RUNNING)]
BaseUrl = Annotated[
    str | None,
    typer.Option(parser=checked(check_address), metavar="URL", help="openai: address of the endpoint (key: OPENAI_API_KEY)."),
]
Revision = Annotated[
    str | None,
    typer.Option(
        metavar="SHA", help="hf, vllm: commit of a hub's model, 40 hex digits; the same for all models that --engine runs."
    ),
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="hf, vllm: run the code that a hub's model brings; only with --revision.")
]
BertscoreModel = Annotated[str | None, typer.Option(metavar="MODEL", help="bertscore: the encoder, a folder or hub id.")]
Judge = Annotated[str | None, typer.Option(metavar="MODEL", help="judge: the grading model; its grades are kept in --cache.")]
SelectorName = Annotated[
    str,
    typer.Option(
        "--selector",
        parser=checked(parse_selector),
        metavar="NAME",
        help="What chooses the passages: llm (the model), none, all, top-k:K, threshold:T (teacher's relevance), largest-gap "
        "(of the teacher's or retriever's scores), gold (the ceiling), cross-encoder:K, cross-encoder:threshold=T, rrpo (or "
        "rrpo:MIN:MAX). With ,reversed or ,shuffled behind it, what it chooses is read in another order.",
    ),
]
Temperature = Annotated[float, typer.Option(min=0, max=5, help="Sampling temperature of the selection; 0 is greedy.")]
TopP = Annotated[float, typer.Option(min=0.01, max=1, help="Nucleus mass of the selection.")]
Constrained = Annotated[
    bool | None,
    typer.Option(
        "--constrained/--no-constrained",
        help="Decode only None or unique identifiers in the template's form (default: where the engine can: hf, vllm).",
        show_default=False,
    ),
]
MinK = Annotated[int, typer.Option(min=0, help="Constrained: fewest passages chosen; above 0 there is no None.")]
MaxK = Annotated[int | None, typer.Option(min=1, help="Constrained: most passages chosen.")]
StopBias = Annotated[
    float,
    typer.Option(
        min=-100,
        max=100,
        help="Added to the log-odds of stopping at every step (llm, constrained; rrpo: to the STOP score); above 0 reads less, "
        "below 0 more.",
    ),
]
Invalid = Annotated[
    str,
    typer.Option(
        parser=one_of("policy for malformed replies", INVALID),
        metavar="drop|strict|retry-once",
        help="A malformed reply: keep its valid identifiers (drop), nothing of it (strict), or sample once more first.",
    ),
]
MaxContextTokens = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens of chosen passages that the reader is given; those beyond, from the end, are left out."),
]
MaxMalformedRate = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="Share of malformed selections above which the exit code is 6; needs -o.", rich_help_panel=RUNNING
    ),
]
MaxSelectionTokens = Annotated[int, typer.Option(min=1, help="Token limit of the reranker's reply.")]


def settings_of(ctx: typer.Context) -> dict[str, Any]:
    """The options of this call that decide its result: all but inputs, outputs and those that only say how it runs."""
    left_out = {"output", "help", "config", "variant", "dry_run", "templates"}
    return {
        config.option_key(param): _plain(ctx.params.get(param.name))
        for param in ctx.command.params
        if param.name
        and param.name not in left_out
        and param.param_type_name == "option"
        and getattr(param, "rich_help_panel", None) != RUNNING
    }


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value
