"""`drag train sft` and `drag train dpo`."""

from pathlib import Path
from typing import Annotated

import typer

from dynamicrag_cli.adapters.trainers.mixing import parse_mix
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.helping import Command
from dynamicrag_cli.cli.training import train

app = typer.Typer(no_args_is_help=True, help="Train a model through LLaMA-Factory (an environment of its own).")

_FINETUNING = ("full", "freeze", "lora")
_ROLES = ("reranker", "generator", "both")

Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder made by build-bc or build-dpo.", show_default=False)]
Base = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="Model to start from, a folder or hub id.", show_default=False)
]
ChatTemplate = Annotated[
    str,
    typer.Option(
        "--template", metavar="NAME", help="LLaMA-Factory's name of the model's chat template (smollm2, llama3, qwen …)."
    ),
]
Role = Annotated[
    str, typer.Option(parser=opt.one_of("role", _ROLES), metavar="ROLE", help="Train on reranker, generator or both examples.")
]
Finetuning = Annotated[
    str,
    typer.Option(
        parser=opt.one_of("finetuning", _FINETUNING),
        metavar="NAME",
        help="full: all weights; freeze: the last --trainable-layers; lora: adapters, merged at the end.",
    ),
]
TrainableLayers = Annotated[int, typer.Option(min=1, help="freeze: how many of the last layers are trained.")]
QuantizationBit = Annotated[
    str | None,
    typer.Option(
        parser=opt.one_of("number of bits", ("4", "8")),
        metavar="4|8",
        help="lora: the frozen weights in so many bits (QLoRA; GPUs).",
    ),
]
LoraRank = Annotated[int, typer.Option(min=1, help="lora: rank of the adapters (alpha is twice the rank).")]
Cutoff = Annotated[int, typer.Option(min=16, help="Tokens after which an example is cut.")]
TrainBatch = Annotated[int, typer.Option("--batch-size", min=1, help="Examples per device and step.")]
Accumulation = Annotated[int, typer.Option(min=1, help="Gradient accumulation steps.")]
LearningRate = Annotated[float, typer.Option(help="Peak learning rate; cosine decay.")]
Epochs = Annotated[float, typer.Option(min=0.001, help="Passes over the data.")]
MaxSteps = Annotated[int | None, typer.Option(min=1, help="Stop after N optimiser steps, whatever --epochs says.")]
Warmup = Annotated[float, typer.Option(min=0, max=1, help="Share of the steps over which the learning rate rises.")]
Bf16 = Annotated[bool, typer.Option("--bf16/--no-bf16", help="Train in bfloat16 (GPUs; on a CPU fp32 is faster).")]
UseCpu = Annotated[bool, typer.Option("--use-cpu/--use-gpu", help="Train on the CPU.")]
Deepspeed = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="DeepSpeed configuration (several GPUs), such as templates/llamafactory/zero3.json."),
]
SaveSteps = Annotated[
    int,
    typer.Option(
        min=0,
        help="Save every N steps, so that an interrupted run goes on from there; 0: only at the end.",
        rich_help_panel=opt.RUNNING,
    ),
]
Gpus = Annotated[
    int,
    typer.Option(
        min=1,
        help="GPUs on this machine (torchrun); a step takes --batch-size times --accumulation examples on each.",
        rich_help_panel=opt.RUNNING,
    ),
]
Nodes = Annotated[
    int,
    typer.Option(
        min=1,
        help="Machines that train together, on a shared disk; type it on the first, it prints what to start on the others.",
        rich_help_panel=opt.RUNNING,
    ),
]
Launcher = Annotated[
    str,
    typer.Option(
        parser=opt.one_of("launcher", ("torchrun", "ray")),
        metavar="torchrun|ray",
        help="What starts the processes of several GPUs or nodes (ray: untested).",
        rich_help_panel=opt.RUNNING,
    ),
]
Trainer = Annotated[
    str,
    typer.Option(
        metavar="PATH", envvar="DRAG_TRAINER", help="llamafactory-cli of the training environment.", rich_help_panel=opt.RUNNING
    ),
]
Shuffle = Annotated[
    bool,
    typer.Option(
        "--shuffle/--in-groups",
        help="in-groups: keep the examples of a question together (its orders, its answer), which steadies small batches.",
    ),
]
AuditFirst = Annotated[
    bool,
    typer.Option("--audit/--no-audit", help="Look for bad examples first (drag audit) and leave them out."),
]
CheckPrompts = Annotated[
    bool,
    typer.Option(
        "--check-prompts/--no-check-prompts",
        help="End the run before its first step if --template writes prompts otherwise than inference does.",
        rich_help_panel=opt.RUNNING,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print LLaMA-Factory's YAML, and to stderr the commands of all nodes, and stop.",
        rich_help_panel=opt.RUNNING,
    ),
]
Mix = Annotated[
    list[str] | None,
    typer.Option(
        parser=opt.checked(parse_mix),
        metavar="FILE[:SHARE]",
        help="Mix in general instructions (Alpaca, or JSONL with system, user, assistant), as SHARE of all examples.",
    ),
]
ModelOut = Annotated[
    Path, typer.Option("--output", "-o", metavar="MODEL", help="Folder of the new checkpoint.", show_default=False)
]
_DEFAULT_TRAINER = "llamafactory-cli"


@app.command(cls=Command)
def sft(
    ctx: typer.Context,
    data: Data,
    output: ModelOut,
    model: Base,
    template: ChatTemplate = "llama3",
    role: Role = "both",
    finetuning: Finetuning = "full",
    trainable_layers: TrainableLayers = 8,
    lora_rank: LoraRank = 16,
    quantization_bit: QuantizationBit = None,
    cutoff: Cutoff = 8192,
    batch_size: TrainBatch = 2,
    accumulation: Accumulation = 2,
    learning_rate: LearningRate = 1e-5,
    epochs: Epochs = 1.0,
    shuffle: Shuffle = True,
    mix: Mix = None,
    max_steps: MaxSteps = None,
    warmup: Warmup = 0.1,
    bf16: Bf16 = True,
    use_cpu: UseCpu = False,
    deepspeed: Deepspeed = None,
    seed: opt.Seed = 0,
    templates: opt.Templates = None,
    save_steps: SaveSteps = 500,
    gpus: Gpus = 1,
    nodes: Nodes = 1,
    launcher: Launcher = "torchrun",
    trainer: Trainer = _DEFAULT_TRAINER,
    audit: AuditFirst = True,
    max_bad_share: opt.MaxBadShare = 0.05,
    check_prompts: CheckPrompts = True,
    dry_run: DryRun = False,
    fresh: opt.Fresh = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Supervised fine-tuning on the examples of build-bc.

    Defaults are the paper's settings.

    Example: drag train sft --data bc -o sft --model models/smollm2-135m --template smollm2 --use-cpu --no-bf16
    """
    train(ctx, "sft", {"reranker": ["reranker_bc"], "generator": ["generator_sft"], "both": ["reranker_bc", "generator_sft"]}, {})


@app.command(cls=Command)
def dpo(
    ctx: typer.Context,
    data: Data,
    output: ModelOut,
    model: Base,
    template: ChatTemplate = "llama3",
    role: Role = "both",
    beta: Annotated[float, typer.Option(min=0, help="Strength of the pull towards the reference model (DPO's beta).")] = 0.1,
    sft_weight: Annotated[float, typer.Option(min=0, help="Weight of an added SFT loss on the chosen side.")] = 0.0,
    finetuning: Finetuning = "full",
    trainable_layers: TrainableLayers = 8,
    lora_rank: LoraRank = 16,
    quantization_bit: QuantizationBit = None,
    cutoff: Cutoff = 8192,
    batch_size: TrainBatch = 1,
    accumulation: Accumulation = 4,
    learning_rate: LearningRate = 5e-6,
    epochs: Epochs = 2.0,
    shuffle: Shuffle = True,
    max_steps: MaxSteps = None,
    warmup: Warmup = 0.1,
    bf16: Bf16 = True,
    use_cpu: UseCpu = False,
    deepspeed: Deepspeed = None,
    seed: opt.Seed = 0,
    templates: opt.Templates = None,
    save_steps: SaveSteps = 500,
    gpus: Gpus = 1,
    nodes: Nodes = 1,
    launcher: Launcher = "torchrun",
    trainer: Trainer = _DEFAULT_TRAINER,
    audit: AuditFirst = True,
    max_bad_share: opt.MaxBadShare = 0.05,
    check_prompts: CheckPrompts = True,
    dry_run: DryRun = False,
    fresh: opt.Fresh = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Direct preference optimisation on the pairs of build-dpo, from an SFT checkpoint.

    Defaults are the paper's settings; the paper does not state beta.

    Example: drag train dpo --data dpo-data -o dpo --model sft --template smollm2 --use-cpu --no-bf16 --finetuning freeze
    """
    files = {"reranker": ["reranker_dpo"], "generator": ["generator_dpo"], "both": ["reranker_dpo", "generator_dpo"]}
    train(ctx, "dpo", files, {"beta": beta, "sft_weight": sft_weight})
