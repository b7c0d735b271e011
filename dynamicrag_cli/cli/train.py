"""`drag train sft` and `drag train dpo`."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters.files.jsonl import lines
from dynamicrag_cli.adapters.files.manifest import identity, read_manifest
from dynamicrag_cli.adapters.files.templates import render_training
from dynamicrag_cli.adapters.trainers import building as building_folder
from dynamicrag_cli.adapters.trainers import llamafactory
from dynamicrag_cli.adapters.trainers.groups import GROUPED, Bad, write_groups, write_sound
from dynamicrag_cli.adapters.trainers.registration import known_datasets
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.audit import Audit, check_share, look, tell
from dynamicrag_cli.cli.console import progress, say, write_stdout
from dynamicrag_cli.cli.freshness import check_folder_target, fingerprint, is_fresh
from dynamicrag_cli.core.errors import InputError, InterruptedRunError

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
LoraRank = Annotated[int, typer.Option(min=1, help="lora: rank of the adapters (alpha is twice the rank).")]
Cutoff = Annotated[int, typer.Option(min=16, help="Tokens after which an example is cut.")]
TrainBatch = Annotated[int, typer.Option("--batch-size", min=1, help="Examples per device and step.")]
Accumulation = Annotated[int, typer.Option(min=1, help="Gradient accumulation steps.")]
LearningRate = Annotated[float, typer.Option(help="Peak learning rate; cosine decay.")]
Epochs = Annotated[float, typer.Option(min=0, help="Passes over the data.")]
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
Gpus = Annotated[int, typer.Option(min=1, help="GPUs on this machine (torchrun).", rich_help_panel=opt.RUNNING)]
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
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print LLaMA-Factory's YAML and stop.", rich_help_panel=opt.RUNNING)]
ModelOut = Annotated[
    Path, typer.Option("--output", "-o", metavar="MODEL", help="Folder of the new checkpoint.", show_default=False)
]
_DEFAULT_TRAINER = "llamafactory-cli"


@app.command()
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
    cutoff: Cutoff = 8192,
    batch_size: TrainBatch = 2,
    accumulation: Accumulation = 2,
    learning_rate: LearningRate = 1e-5,
    epochs: Epochs = 1.0,
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
    trainer: Trainer = _DEFAULT_TRAINER,
    audit: AuditFirst = True,
    max_bad_share: opt.MaxBadShare = 0.05,
    dry_run: DryRun = False,
    fresh: opt.Fresh = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Supervised fine-tuning on the examples of build-bc.

    Defaults are the paper's settings.

    Example: drag train sft --data bc -o sft --model models/smollm2-135m --template smollm2 --use-cpu --no-bf16
    """
    _train(
        ctx, "sft", {"reranker": ["reranker_bc"], "generator": ["generator_sft"], "both": ["reranker_bc", "generator_sft"]}, {}
    )


@app.command()
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
    trainer: Trainer = _DEFAULT_TRAINER,
    audit: AuditFirst = True,
    max_bad_share: opt.MaxBadShare = 0.05,
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
    _train(ctx, "dpo", files, {"beta": beta, "sft_weight": sft_weight})


def _train(ctx: typer.Context, stage: str, files: dict[str, list[str]], extra: dict[str, Any]) -> None:
    params = ctx.params
    data, output = Path(params["data"]), Path(params["output"])
    datasets = _datasets(data, files[params["role"]])
    building = output.with_name(output.name + ".partial")
    lora = params["finetuning"] == "lora"
    trained = building / "adapter" if lora else building
    slots = {name: params[name] for name in _SLOTS} | extra
    source = data if params["shuffle"] else building / "data"
    slots |= {"datasets": datasets if params["shuffle"] else [GROUPED], "data": str(source.resolve())}
    slots |= {"output": str(trained.resolve()), "model": _resolved(params["model"])}
    if params["dry_run"]:
        write_stdout(render_training(params["templates"], stage, slots))
        return
    check_folder_target(output, "model")
    wanted = fingerprint(ctx, None)
    wanted["options"]["data"] = {name: identity(str(data / f"{name}.jsonl")) for name in datasets}
    wanted["settings"] = render_training(
        params["templates"], stage, {**slots, "data": "", "output": "", "model": "", "save_steps": 0}
    )
    if not params["fresh"] and is_fresh(output, wanted):
        say(f"train {stage}: {output} is up to date")
        return
    if not params["fresh"] and building.is_dir() and read_manifest(building).get("fingerprint") == wanted:
        # An earlier run was cut off between its last step and the move to its place.
        building_folder.move(building, output)
        say(f"train {stage}: {output} was finished by an earlier run")
        return
    found = _audited(params, data, datasets)
    building_folder.prepare(building, wanted, fresh=params["fresh"])
    trained.mkdir(parents=True, exist_ok=True)
    if not params["shuffle"] or found.n_bad:
        _write_data(params, data, datasets, building / "data", found.bad, ranking=stage == "dpo")
        slots["data"] = str((building / "data").resolve())
    (building / "train.yaml").write_text(render_training(params["templates"], stage, slots), encoding="utf-8")
    started = time.monotonic()
    _run_trainer(params, stage, building, trained)
    seconds = time.monotonic() - started
    curve = llamafactory.loss_curve(trained)
    examples = sum(1 for name in datasets for _ in lines(str(data / f"{name}.jsonl")))
    counts = {"in": examples, "dropped": found.n_bad, "steps": curve[-1][0] if curve else 0}
    manifest = {
        "kind": "model",
        "fingerprint": wanted,
        "counts": counts,
        "seconds": round(seconds, 3),
        "loss": curve,
        "stage": stage,
        "audit": found.document(params["cutoff"]),
    }
    building_folder.finish(building, output, manifest)
    shown = f", loss {curve[0][1]:.3f} -> {curve[-1][1]:.3f}" if curve else ""
    say(f"train {stage}: {examples} examples, {counts['steps']} steps{shown}, {seconds:.0f} s -> {output}")


def _write_data(params: dict[str, Any], data: Path, datasets: list[str], folder: Path, bad: Bad, *, ranking: bool) -> None:
    """The training files in the order or without the examples that the options ask for."""
    if params["shuffle"]:
        write_sound(data, datasets, folder, bad, ranking=ranking)
    else:
        per_step = params["batch_size"] * params["accumulation"] * params["gpus"]
        write_groups(data, datasets, folder, bad, ranking=ranking, seed=params["seed"], per_step=per_step)


def _run_trainer(params: dict[str, Any], stage: str, building: Path, trained: Path) -> None:
    """Run LLaMA-Factory on `building/train.yaml`, with its steps as a progress bar; adapters are merged at the end.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM; the checkpoint so far is kept.
    """
    env = llamafactory.environment(params["use_cpu"], params["gpus"])
    with progress(f"train {stage}", None) as bar:

        def on_step(step: int, total: int, note: str) -> None:
            if total and bar.total != total:
                bar.set_total(total)
            if step > bar.done:
                bar.advance(step - bar.done, note)

        try:
            llamafactory.run(params["trainer"], ["train", str(building / "train.yaml")], trained, env, on_step)
            if params["finetuning"] == "lora":
                _merge(params, trained, building, env)
        except KeyboardInterrupt:
            raise InterruptedRunError("training interrupted; the same command goes on from the last saved step") from None


_SLOTS = (
    "template", "finetuning", "trainable_layers", "lora_rank", "cutoff", "batch_size", "accumulation", "learning_rate", "epochs",
    "max_steps", "shuffle", "warmup", "bf16", "use_cpu", "deepspeed", "seed", "save_steps",
)  # fmt: skip


def _datasets(data: Path, wanted: list[str]) -> list[str]:
    """The training files of a data folder for a role.

    Raises:
        InputError: The folder is no data folder, or has no example for the role.
    """
    known = known_datasets(data)
    found = [name for name in wanted if name in known]
    if not found:
        raise InputError(f"{data}: holds none of {', '.join(wanted)} (it has {', '.join(known) or 'no examples at all'})")
    return found


def _audited(params: dict[str, Any], data: Path, datasets: list[str]) -> Audit:
    """The gate before a training: its bad examples, which are left out, or an error if they are too many."""
    if not params["audit"]:
        return Audit()
    found = look(data, datasets, params["model"], params["cutoff"])
    if found.n_bad:
        tell(found)
        check_share(found, params["max_bad_share"], data)
    return found


def _resolved(model: str) -> str:
    """A folder as an absolute path, since the trainer runs elsewhere; a hub id as it is."""
    return str(Path(model).resolve()) if Path(model).exists() else model


def _merge(params: dict[str, Any], adapter: Path, building: Path, env: dict[str, str]) -> None:
    """Merge LoRA adapters into the weights, so that every engine can load the result."""
    lines = {
        "model_name_or_path": _resolved(params["model"]),
        "adapter_name_or_path": str(adapter.resolve()),
        "template": params["template"],
        "trust_remote_code": False,
        "export_dir": str((building / "merged").resolve()),
        "export_device": "cpu",
    }
    settings = building / "merge.yaml"
    settings.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in lines.items()), encoding="utf-8")
    llamafactory.run(params["trainer"], ["export", str(settings)], building, env, lambda _step, _total, _note: None)
    for file in (building / "merged").iterdir():
        file.replace(building / file.name)
    (building / "merged").rmdir()
