"""The run behind `drag train sft` and `drag train dpo`: data, settings, LLaMA-Factory, and a checkpoint with its card."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
import yaml

from dynamicrag_cli.adapters.files.jsonl import lines
from dynamicrag_cli.adapters.files.manifest import identity, read_manifest, same
from dynamicrag_cli.adapters.files.templates import render_training
from dynamicrag_cli.adapters.machine import version_beside
from dynamicrag_cli.adapters.trainers import building as building_folder
from dynamicrag_cli.adapters.trainers import llamafactory
from dynamicrag_cli.adapters.trainers.card import PLOT, write_card
from dynamicrag_cli.adapters.trainers.groups import GROUPED, Bad, write_groups, write_sound
from dynamicrag_cli.adapters.trainers.mixing import MIX, parse_mix, read_mixes
from dynamicrag_cli.adapters.trainers.registration import known_datasets
from dynamicrag_cli.cli.audit import Audit, check_share, look, prompt_check, tell
from dynamicrag_cli.cli.console import progress, say, write_stdout
from dynamicrag_cli.cli.freshness import check_folder_target, fingerprint, is_fresh
from dynamicrag_cli.core.errors import InputError, InterruptedRunError, UsageError
from dynamicrag_cli.core.records import ChatExample, PreferencePair


def train(ctx: typer.Context, stage: str, files: dict[str, list[str]], extra: dict[str, Any]) -> None:
    """Train as the options of a command say.

    Args:
        ctx: The call of the command.
        stage: `sft` or `dpo`.
        files: File stems of the data folder, by role.
        extra: Slots of the stage's template beyond the common ones.

    Raises:
        UsageError: The options contradict each other.
        InputError: The data are missing, hold no example for the role, or hold too many bad ones.
        EngineError: LLaMA-Factory failed.
    """
    params = ctx.params
    _check(params)
    data, output = Path(params["data"]), Path(params["output"])
    datasets = _datasets(data, files[params["role"]])
    building = output.with_name(output.name + ".partial")
    trained = building / "adapter" if params["finetuning"] == "lora" else building
    machines = _machines(params)
    slots = {name: params[name] for name in _SLOTS} | extra | {"quantization_bit": int(params["quantization_bit"] or 0)}
    mixes = [parse_mix(text) for text in params.get("mix") or ()]
    kept = params["shuffle"] and not mixes
    # Whole paths: the other nodes may start in another folder.
    slots |= {
        "datasets": [*datasets, *([MIX] if mixes else [])] if params["shuffle"] else [GROUPED],
        "data": str((data if kept else building / "data").resolve()),
        "output": str(trained.resolve()),
        "model": _resolved(params["model"]),
        "deepspeed": str(Path(params["deepspeed"]).resolve()) if params["deepspeed"] else None,
        "processes": machines.workers,
        "ray_workers": machines.workers if machines.ray else 0,
    }
    if params["dry_run"]:
        write_stdout(render_training(params["templates"], stage, slots))
        _tell_commands(machines, params["trainer"], building, first=0)
        return
    check_folder_target(output, "model")
    wanted = fingerprint(ctx, None)
    wanted["options"]["data"] = {name: identity(str(data / f"{name}.jsonl")) for name in datasets}
    named = zip(params.get("mix") or (), mixes, strict=True)
    wanted["options"]["mix"] = {text: identity(str(mix.path)) for text, mix in named}
    # With more of them a step has more examples, and a checkpoint stands elsewhere in the data.
    wanted["options"] |= {"processes": machines.workers} if machines.workers > 1 else {}
    elsewhere = {"data": "", "output": "", "model": "", "save_steps": 0, "ray_workers": 0, "processes": 1}
    elsewhere |= {"deepspeed": params["deepspeed"]}
    wanted["settings"] = yaml.safe_load(render_training(params["templates"], stage, {**slots, **elsewhere}))
    if not params["fresh"] and is_fresh(output, wanted):
        say(f"train {stage}: {output} is up to date")
        return
    if not params["fresh"] and building.is_dir() and same(read_manifest(building).get("fingerprint"), wanted):
        # An earlier run was cut off between its last step and the move to its place.
        building_folder.move(building, output)
        say(f"train {stage}: {output} was finished by an earlier run")
        return
    # Looked for before the audit, which may take minutes.
    program = Path(llamafactory.find_cli(params["trainer"]))
    examples = {name: sum(1 for _ in lines(str(data / f"{name}.jsonl"))) for name in datasets}
    n_own = sum(examples.values())
    mixed = read_mixes(mixes, n_own, params["seed"])
    found = _audited(params, data, datasets, mixed, n_own + len(mixed))
    building_folder.prepare(building, wanted, fresh=params["fresh"])
    trained.mkdir(parents=True, exist_ok=True)
    if not kept or found.n_bad:
        _write_data(params, data, datasets, building / "data", found.bad, mixed, ranking=stage == "dpo")
        slots["data"] = str((building / "data").resolve())
    (building / "train.yaml").write_text(render_training(params["templates"], stage, slots), encoding="utf-8")
    started = time.monotonic()
    _run_trainer(params, stage, building, trained, machines, Path(slots["data"]) / f"{slots['datasets'][0]}.jsonl")
    seconds = time.monotonic() - started
    curve = llamafactory.loss_curve(trained)
    counts = {"in": n_own, "dropped": found.n_bad, "steps": curve[-1][0] if curve else 0}
    manifest = {
        "kind": "model",
        "fingerprint": wanted,
        "counts": counts | ({"mixed": len(mixed)} if mixes else {}),
        "examples": examples,
        "seconds": round(seconds, 3),
        "loss": curve,
        "stage": stage,
        "trainer": version_beside(program, "llamafactory"),
        "audit": found.document(params["cutoff"]),
    }
    write_card(building, output.name, params["model"], manifest, params["templates"])
    building_folder.finish(building, output, manifest)
    shown = f", loss {curve[0][1]:.3f} -> {curve[-1][1]:.3f}" if curve else ""
    say(f"train {stage}: {n_own + len(mixed)} examples, {counts['steps']} steps{shown}, {seconds:.0f} s -> {output}")


def _check(params: dict[str, Any]) -> None:
    if params.get("mix") and not params["shuffle"]:
        raise UsageError("--mix has no place in --in-groups, whose steps hold one question each; type --shuffle")
    if params["quantization_bit"] and params["finetuning"] != "lora":
        raise UsageError("--quantization-bit freezes the weights, so it needs --finetuning lora")
    if params["deepspeed"] and not params["dry_run"] and not Path(params["deepspeed"]).is_file():
        raise InputError(f"--deepspeed {params['deepspeed']}: no such file")


def _machines(params: dict[str, Any]) -> llamafactory.Machines:
    names = ("use_cpu", "gpus", "nodes")
    return llamafactory.Machines(
        **{name: params[name] for name in names}, deepspeed=bool(params["deepspeed"]), ray=params["launcher"] == "ray"
    )


def _tell_commands(machines: llamafactory.Machines, trainer: str, building: Path, first: int) -> None:
    """What starts the training on the nodes from `first` on, for people."""
    typed = llamafactory.commands(machines, trainer, (building / "train.yaml").resolve())
    for rank, line in enumerate(typed[first:], start=first):
        say(f"node {rank}: {line}" if len(typed) > 1 else line)


def _write_data(
    params: dict[str, Any],
    data: Path,
    datasets: list[str],
    folder: Path,
    bad: Bad,
    mixed: Sequence[ChatExample],
    *,
    ranking: bool,
) -> None:
    """The training files in the order or without the examples that the options ask for."""
    if params["shuffle"]:
        write_sound(data, datasets, folder, bad, ranking=ranking, mixed=mixed)
    else:
        per_step = params["batch_size"] * params["accumulation"] * _machines(params).workers
        write_groups(data, datasets, folder, bad, ranking=ranking, seed=params["seed"], per_step=per_step)


def _run_trainer(
    params: dict[str, Any],
    stage: str,
    building: Path,
    trained: Path,
    machines: llamafactory.Machines,
    first: Path,
) -> None:
    """Run LLaMA-Factory on `building/train.yaml`, with its steps as a progress bar; adapters are merged at the end.

    The prompts are checked with the first example of the data, which is that of file `first`.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM; the checkpoint so far is kept.
    """
    env = llamafactory.environment(machines, llamafactory.find_cli(params["trainer"]))
    kind = PreferencePair if stage == "dpo" else ChatExample
    check = prompt_check(params["model"], params["template"], first, kind) if params["check_prompts"] else None
    if machines.nodes > 1 and not machines.ray:
        say("start on the other nodes, which see this folder under the same path:")
        _tell_commands(machines, params["trainer"], building, first=1)
    with progress(f"train {stage}", None) as bar:

        def on_step(step: int, total: int, note: str) -> None:
            if total and bar.total != total:
                bar.set_total(total)
            if step > bar.done:
                bar.advance(step - bar.done, note)

        try:
            llamafactory.run(params["trainer"], ["train", str(building / "train.yaml")], trained, env, on_step, check)
            if params["finetuning"] == "lora":
                _merge(params, trained, building, env)
                if (trained / PLOT).exists():
                    (trained / PLOT).replace(building / PLOT)
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


def _audited(params: dict[str, Any], data: Path, datasets: list[str], mixed: Sequence[ChatExample], n_examples: int) -> Audit:
    """The gate before a training: its bad examples, which are left out, or an error if they are too many or all there is."""
    found = look(data, datasets, params["model"], params["cutoff"], mixed) if params["audit"] else Audit()
    if found.n_bad:
        tell(found)
        check_share(found, params["max_bad_share"], data)
    if n_examples <= found.n_bad:
        raise InputError(f"{data}: no example to train on in {', '.join(datasets)}")
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
