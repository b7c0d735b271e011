"""`drag train rrpo`."""

import dataclasses
import json
import math
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.engines.cached import MEMORY, Tally
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.adapters.trainers import building as building_folder
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli import train
from dynamicrag_cli.cli.console import progress, say
from dynamicrag_cli.cli.models import NO_CACHE, Closing, engine_settings, open_pair, prompts_for
from dynamicrag_cli.cli.reward import check_models, model_terms
from dynamicrag_cli.cli.train_reranker import Candidates, start_training, training_records
from dynamicrag_cli.core.advantages import ADVANTAGES
from dynamicrag_cli.core.errors import EngineError, InputError, InterruptedRunError
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.policy import parse_bounds
from dynamicrag_cli.core.records import RetrievedQuestion
from dynamicrag_cli.core.rewards import READER_TERMS, parse_weights
from dynamicrag_cli.stages.feedback import Feedback

ANCHORS = ("previous", "reference")
CURVE = "curve.jsonl"
_BERTSCORE_BATCH = 32
_FRUITLESS = 3


def _reader_weights(text: str) -> dict[str, float]:
    return parse_weights(text, READER_TERMS)


def rrpo(
    ctx: typer.Context,
    data: Candidates,
    output: train.ModelOut,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="The reference, which training starts from: a cross-encoder with one output.",
            show_default=False,
        ),
    ],
    reader: Annotated[
        str, typer.Option(metavar="MODEL", help="The model that answers, whose answers are the reward.", show_default=False)
    ],
    engine: opt.EngineName = "hf",
    k: Annotated[
        str,
        typer.Option(
            parser=opt.checked(parse_bounds),
            metavar="K|MIN:MAX",
            help="Passages of a list: 3 is always three; 0:5 is none to five, where the policy learns to stop.",
        ),
    ] = "0:5",
    passage_cost: Annotated[float, typer.Option(min=0, help="Taken from the reward for every passage read.")] = 0.0,
    weights: Annotated[
        str,
        typer.Option(
            parser=opt.checked(_reader_weights),
            metavar="TERMS",
            help=f"The reward of an answer, NAME=WEIGHT of {', '.join(READER_TERMS)} (hit is 1 or -1). Only with a weight are "
            "bertscore and judge computed.",
        ),
    ] = "em=1 f1=1 hit=1",
    bertscore_model: opt.BertscoreModel = None,
    judge: opt.Judge = None,
    advantage: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("advantage", ADVANTAGES),
            metavar="NAME",
            help="paper: the reference's reward as GAE's value; difference: reward minus the reference's, 0 for the reference.",
        ),
    ] = "difference",
    anchor: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("anchor", ANCHORS),
            metavar="NAME",
            help="What the clipped ratio is over: previous (the policy that drew, as in PPO) or reference (the paper).",
        ),
    ] = "previous",
    rollouts: Annotated[int, typer.Option(min=1, help="Lists drawn per question and step.")] = 4,
    updates: Annotated[int, typer.Option(min=1, help="Optimiser steps on the same lists.")] = 1,
    clip: Annotated[
        float, typer.Option(min=0.001, max=1, help="PPO's clip; it acts only with --updates above 1 or --anchor reference.")
    ] = 0.2,
    kl: Annotated[float, typer.Option(min=0, help="Weight of the KL divergence from the reference.")] = 0.1,
    gamma: Annotated[float, typer.Option(min=0, max=1, help="Discount per step of a list.")] = 0.99,
    gae_lambda: Annotated[float, typer.Option(min=0, max=1, help="GAE's lambda.")] = 0.95,
    window: Annotated[int, typer.Option(min=2, help="Advantages by whose mean and deviation new ones are normalised.")] = 1024,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=100, help="Of the policy's softmax: above 1 explores more (default: the reference's own, else 1)."
        ),
    ] = None,
    stop_score: Annotated[
        float | None,
        typer.Option(
            help="STOP score to start from, a logit (default: the reference's own, else where all lengths are about as frequent)."
        ),
    ] = None,
    stop_learning_rate: Annotated[float, typer.Option(min=0, help="Peak learning rate of the STOP scores.")] = 0.1,
    cutoff: train.Cutoff = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions per forward pass and process.")] = 8,
    accumulation: train.Accumulation = 4,
    learning_rate: train.LearningRate = 2e-5,
    epochs: train.Epochs = 2.0,
    max_steps: train.MaxSteps = None,
    warmup: train.Warmup = 0.1,
    bf16: train.Bf16 = False,
    split: opt.Split = "train",
    dev_share: opt.DevShare = 0.1,
    limit: opt.Limit = None,
    seed: opt.Seed = 0,
    templates: opt.Templates = None,
    dtype: opt.Dtype = None,
    max_model_len: opt.MaxModelLen = None,
    base_url: opt.BaseUrl = None,
    revision: opt.Revision = None,
    trust_remote_code: opt.TrustRemoteCode = False,
    device: opt.Device = None,
    batch_tokens: opt.BatchTokens = 16384,
    concurrency: opt.Concurrency = 16,
    timeout_s: opt.TimeoutS = 120.0,
    gpus: opt.Gpus = 1,
    cache: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|none",
            help="The reader's answers, kept for later runs (default: MODEL.answers.sqlite; none: for this run alone).",
            rich_help_panel=opt.RUNNING,
        ),
    ] = None,
    save_steps: train.SaveSteps = 10,
    fresh: opt.Fresh = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Train a cross-encoder, and when to stop, by the reader's answers (RRPO; docs/rrpo.md has the formulas).

    The result serves as the selector rrpo, and as any cross-encoder does. Untested on GPUs.

    Example: drag train rrpo --data candidates.jsonl -o rrpo --model reranker --reader sft --k 0:5 --passage-cost 0.05
    """  # fmt: skip
    parsed = _reader_weights(weights)
    check_models(parsed, ctx.params)
    settings = engine_settings(ctx)  # a wrong pair of --revision and --trust-remote-code is told before any work
    prompts = prompts_for(templates, frozenset())
    wanted, building = start_training(ctx, data, output, prompts_hash(prompts))
    if wanted is None:
        return
    notes: Counter[str] = Counter()
    records = _trainable(training_records(ctx.params, data, notes), notes, data)
    trainer_module = _Parts()
    policy = trainer_module.policy(ctx.params)
    if trainer_module.crew.rank == 0:
        building_folder.prepare(building, wanted, fresh=fresh)
    trainer_module.crew.wait()
    kept_in = MEMORY if cache == NO_CACHE else cache or str(output.with_name(output.name + ".answers.sqlite"))
    tally = Tally()
    grading = judge if parsed.get("judge") else None
    grader, asking = open_pair(settings, Closing(ctx.call_on_close), engine, grading, reader, kept_in, tally)
    terms = model_terms(parsed, ctx.params, grader, _BERTSCORE_BATCH)
    feedback = Feedback(asking, prompts_for(templates, asking.control_tokens), parsed, terms)
    trainer = trainer_module.trainer(policy, records, feedback, ctx.params)
    try:
        _go(trainer, feedback, building, tally, save_steps)
    except KeyboardInterrupt:
        raise InterruptedRunError("training interrupted; the same command goes on from the last saved step") from None
    if trainer_module.crew.rank == 0:
        policy.scorer.save(building)
        (building / "rrpo.json").write_text(json.dumps({**policy.note(), "passage_cost": passage_cost}) + "\n", encoding="utf-8")
        lines = _curve(building)
        manifest = {
            "kind": "model", "fingerprint": wanted, "stage": "rrpo", "objective": "rrpo", "notes": dict(+notes),
            "counts": {
                "in": len(records), "steps": trainer.step, "asked": sum(int(line["asked"]) for line in lines),
                "failed": sum(int(line["failed"]) for line in lines), "skipped": sum(int(line["skipped"]) for line in lines),
            },
            "stop": policy.stop.tolist(), "stop_start": (trainer.reference_stop * policy.temperature).tolist(),
            "seconds": round(math.fsum(line["seconds"] for line in lines), 3),
        }  # fmt: skip
        building_folder.finish(building, output, manifest)
        _tell(lines, manifest, feedback, output)
    trainer_module.crew.wait()


def _trainable(records: list[RetrievedQuestion], notes: Counter[str], data: str) -> list[RetrievedQuestion]:
    """The questions that have candidates and something to reward against."""
    kept = []
    for record in records:
        if not record.docs:
            notes["left out: no candidates"] += 1
        elif not references(record):
            notes["left out: no gold answers to reward against"] += 1
        else:
            kept.append(record)
    if not kept:
        reasons = "; ".join(f"{count} {note}" for note, count in notes.items()) or "it is empty"
        raise InputError(f"{data}: no question to train on: {reasons}")
    return kept


class _Parts:
    """What needs torch, loaded now."""

    def __init__(self) -> None:
        places = {"trainer": ("Trainer", "Settings"), "crew": ("Crew",)}
        places["scorer"] = ("Policy", "CrossEncoderScorer", "load_cross_encoder", "read_note")
        table = {name: registry.Entry(f"rrpo.{file}:{name}", "local", "") for file, names in places.items() for name in names}
        self.parts: dict[str, Any] = {name: registry.load("trainer", name, table) for name in table}
        self.crew = self.parts["Crew"]()

    def policy(self, params: dict[str, Any]) -> Any:
        """The reference as the policy to train."""
        loaded = self.parts["load_cross_encoder"]("reference", params["model"], params["device"], params["cutoff"])
        own = self.parts["read_note"](params["model"])
        stop = (own.get("stop") or None) if params["stop_score"] is None else [params["stop_score"]]
        heat = own.get("temperature", 1.0) if params["temperature"] is None else params["temperature"]
        scorer = self.parts["CrossEncoderScorer"](loaded, bf16=params["bf16"])
        return self.parts["Policy"](scorer, parse_bounds(params["k"]), stop, heat)

    def trainer(self, policy: Any, records: list[RetrievedQuestion], feedback: Feedback, params: dict[str, Any]) -> Any:
        """The trainer with the options of this call."""
        names = {field.name for field in dataclasses.fields(self.parts["Settings"])} & {*params}
        settings = self.parts["Settings"](**{name: params[name] for name in names})
        return self.parts["Trainer"](policy, records, feedback, settings, self.crew)


def _go(trainer: Any, feedback: Feedback, building: Path, tally: Tally, save_steps: int) -> None:
    """Train from the last checkpoint on, if there is one, and write the curve."""
    if found := sorted(building.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2])):
        trainer.restore(found[-1])
        say(f"train rrpo: going on after step {trainer.step}")
    else:
        with progress("train rrpo, the reference's scores", len(trainer.crew.share(trainer.questions()))) as bar:
            trainer.score_reference(bar.advance)
    lines = [line for line in _curve(building) if line["step"] <= trainer.step]
    trainer.crew.wait()  # all have read it
    speaks = trainer.crew.rank == 0
    if speaks:
        (building / CURVE).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with progress("train rrpo", trainer.total) as bar:
        bar.advance(trainer.step)
        counted = np.zeros(3)

        def on_step(line: dict[str, Any]) -> None:
            nonlocal counted
            before, counted = counted, np.array([trainer.rewards.n_asked, tally.wanted, tally.known])
            asked, wanted, known = np.sum(trainer.crew.gather([counted - before]), axis=0).tolist()
            line |= {"asked": int(asked), "cached": known / wanted if wanted else 0.0}
            lines.append(line)
            _check_fruitful(lines[-min(_FRUITLESS, trainer.total) :], min(_FRUITLESS, trainer.total), feedback)
            if not speaks:
                return
            with (building / CURVE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            bar.advance(1, _note(line))
            if save_steps and trainer.step % save_steps == 0 and trainer.step < trainer.total:
                trainer.save(building / f"checkpoint-{trainer.step}")
                for old in building.glob("checkpoint-*"):
                    if old.name != f"checkpoint-{trainer.step}":
                        _remove(old)

        trainer.run(on_step)


def _check_fruitful(lines: list[dict[str, Any]], n_steps: int, feedback: Feedback) -> None:
    """End a run whose reader answers nothing; a single step may fail, such as one with a single question."""
    if len(lines) == n_steps and all(line["asked"] and line["failed"] >= line["asked"] for line in lines):
        raise EngineError(f"no prompt of {n_steps} step(s) in a row got a reward, mostly for: {_commonest(feedback)}\n"
            "See --engine, --reader, --max-model-len and --judge.")  # fmt: skip


def _commonest(feedback: Feedback) -> str:
    return next((reason for reason, _ in feedback.reasons.most_common(1)), "nothing told")


def _remove(checkpoint: Path) -> None:
    for name in ("trainer_state.json", "state.pt"):
        (checkpoint / name).unlink(missing_ok=True)
    checkpoint.rmdir()


def _note(line: dict[str, Any]) -> str:
    keys = ("reward", "reference", "passages", "loss", "kl")
    reward, reference, passages, loss, kl = (_shown(line[key]) for key in keys)
    return f"reward {reward} (reference {reference}), {passages} passages, loss {loss}, KL {kl}, cached {line['cached']:.0%}"


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _curve(building: Path) -> list[dict[str, Any]]:
    """The lines of the curve so far; a torn last one is dropped."""
    path, made = building / CURVE, []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            made.append(json.loads(line))
        except ValueError:
            break
    return made


def _tell(lines: list[dict[str, Any]], manifest: dict[str, Any], feedback: Feedback, output: Path) -> None:
    counts, rewards = manifest["counts"], [line["reward"] for line in lines if line["reward"] is not None]
    part = max(len(rewards) // 10, 1)
    first, last = (_shown(math.fsum(some) / part if some else None) for some in (rewards[:part], rewards[-part:]))
    say(f"train rrpo: {counts['in']} questions, {counts['steps']} steps, reward {first} -> {last}, "
        f"{_shown(lines[-1]['passages'])} passages, {manifest['seconds']:.0f} s -> {output}")  # fmt: skip
    if manifest["stop"]:
        start, end = (", ".join(f"{score:.2f}" for score in manifest[key]) for key in ("stop_start", "stop"))
        say(f"  STOP scores by passages read: {start} -> {end}")
    if all(line["spread"] == 0 for line in lines):
        say("  all rewards were equal: there was nothing to learn; try another --reader, --weights or more candidates")
    if counts["failed"]:
        say(f"  {counts['failed']:>6}  prompts that the reader failed on; {counts['skipped']} actions were left out")
        if feedback.reasons:
            say(f"          mostly for: {_commonest(feedback)}")
    for note, count in sorted(manifest["notes"].items()):
        say(f"  {count:>6}  {note}")
