"""What a pipeline file needs of a machine: extras, the trainer, models, data; and how far its run has come."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynamicrag_cli.adapters.files.manifest import manifest_path
from dynamicrag_cli.adapters.machine import Fact
from dynamicrag_cli.adapters.registry import ENGINES, RETRIEVERS, RUNNERS, TEACHERS
from dynamicrag_cli.cli import config as configs
from dynamicrag_cli.cli.check import leaf_commands
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.rewards import parse_weights
from dynamicrag_cli.core.selectors import LLM_SELECTOR

PART = "pipeline"
# Files of a run in the order in which they are made, each with the target of make that makes it.
OUTPUTS = {
    "bm25": "index",
    "dense": "index",
    "candidates.jsonl": "retrieve",
    "labelled.jsonl": "rerank-teacher",
    "bc": "build-bc",
    "sft": "train-sft",
    "sampled.jsonl": "sample",
    "rewarded.jsonl": "reward",
    "dpo-data": "build-dpo",
    "dpo": "train-dpo",
    "reranker": "train-reranker",
    "predictions": "infer",
    "report.json": "eval",
}
_MODELS = ("model", "reader", "tokenizer", "judge", "bertscore-model", "selector-model")
_PATHS = ("index", "encoder", "data", "deepspeed", "templates", "embeddings", "against")
_ALWAYS_LOCAL = ("tokenizer", "bertscore-model", "selector-model")
_TRAIN_EXTRAS = {"deepspeed": "deepspeed", "quantization-bit": "bitsandbytes"}
_BY_LLAMAFACTORY = (("train", "sft"), ("train", "dpo"))


@dataclass
class Needs:
    """What was read off a pipeline file.

    Attributes:
        extras: Extras without which a section cannot run.
        trainer: Whether a section trains.
        train_extras: What it needs beside the trainer.
        cuda: Whether a section names a CUDA device.
        facts: One row per model and path, and one per output of the run.
    """

    extras: set[str] = field(default_factory=set)
    trainer: bool = False
    train_extras: set[str] = field(default_factory=set)
    cuda: bool = False
    facts: list[Fact] = field(default_factory=list)


def read_needs(file: Path, root: Any) -> Needs:
    """The needs of a pipeline file; `root` is the program's command, whose defaults count where the file is silent.

    Raises:
        InputError: There is no such file, or it is no YAML table.
    """
    problems: list[str] = []
    content = configs.load(file, problems)
    found = Needs(facts=[Fact(PART, "file", "broken", problem, needed=True) for problem in problems])
    run = content.get("run")
    run = run if isinstance(run, dict) else {}
    place = _Place(file, Path(str(run.get("dir") or ".")))
    seen: set[str] = set()
    for key in ("corpus", "questions", "model", "encoder"):
        value = str(run.get(key) or "")
        if value and "${" not in value:  # a variable that is not set has its row already
            seen.add(value)
            found.facts.append(place.data(key, value) if key in ("corpus", "questions") else place.model(key, value, None))
    for words, command in leaf_commands(root):
        for settings in _settings(configs.section_of(content, list(words)), command):
            found.extras |= _extras(words[-1], settings)
            found.trainer = found.trainer or words in _BY_LLAMAFACTORY
            found.train_extras |= {name for option, name in _TRAIN_EXTRAS.items() if settings.get(option)}
            found.cuda = found.cuda or str(settings.get("device") or "").startswith("cuda")
            for fact, value in _named(words, settings, place):
                if value not in seen:
                    seen.add(value)
                    found.facts.append(fact)
    found.extras.discard("")
    found.facts += _outputs(content, place)
    return found


def _settings(section: dict[str, Any], command: Any) -> Iterator[dict[str, Any]]:
    """Every way in which a pipeline file calls a command: its own keys, and each variant on top of them."""
    if not section:
        return
    known = configs.options_of(command)
    defaults = {key: param.default for key, param in known.items() if isinstance(param.default, str)}
    own, variants = configs.split_variants(section)
    base = defaults | {configs.dashed(key): value for key, value in own.items()}
    # The rows of infer are its variants, the section itself is only what they share.
    if not variants or command.name != "infer":
        yield base
    for variant in variants.values():
        yield base | {configs.dashed(key): value for key, value in variant.items()}


def _weights(settings: dict[str, Any]) -> dict[str, float]:
    try:
        return dict(parse_weights(str(settings.get("weights"))))
    except UsageError:
        return {}  # `drag check` says what is wrong with them


def _engine(name: str, settings: dict[str, Any]) -> str | None:
    """The engine that a command would open; None if it opens none."""
    weights = _weights(settings) if name == "reward" else {}
    uses = (
        name in ("sample", "infer", "rrpo")
        or (name == "retrieve" and settings.get("expand"))
        or (name == "rerank-teacher" and settings.get("teacher") in ("llm", "listwise"))
        or (name == "build-bc" and settings.get("target") == "reader")
        or weights.get("judge")
    )
    return str(settings.get("engine")) if uses else None


def _extras(name: str, settings: dict[str, Any]) -> set[str]:
    tables = {"index": (RETRIEVERS, "retriever"), "rerank-teacher": (TEACHERS, "teacher")}
    found = {"retrieval"} if name == "retrieve" else set()
    if name in tables:
        table, key = tables[name]
        found |= {table[value].extra for value in [str(settings.get(key))] if value in table}
    if runner := RUNNERS.get(str(settings.get("runner"))):
        found.add(runner.extra)
    engine = _engine(name, settings)
    if engine in ENGINES:
        found.add(ENGINES[engine].extra)
    if (
        name in ("reranker", "rrpo")
        or settings.get("tokenizer")
        or settings.get("selector-model")
        or (name == "reward" and _weights(settings).get("bertscore"))
    ):
        found.add("local")
    return found


def _named(words: tuple[str, ...], settings: dict[str, Any], place: "_Place") -> Iterator[tuple[Fact, str]]:
    """Rows of the models and paths that one section names, each with the name."""
    label, name = ".".join(words), words[-1]
    engine = _engine(name, settings)
    for key in _MODELS:
        chosen_by_rule = name == "infer" and key == "model" and str(settings.get("selector")).partition(",")[0] != LLM_SELECTOR
        value = settings.get(key)
        if value and not chosen_by_rule:
            runs_in = None if key in _ALWAYS_LOCAL or (name == "rrpo" and key == "model") else engine
            if runs_in != "openai":  # the name of a model at an endpoint is no path
                yield place.model(f"{label}.{key}", str(value), runs_in), str(value)
    for key in _PATHS:
        listed = settings.get(key)
        for value in listed if isinstance(listed, list) else [listed] if listed else []:
            yield place.data(f"{label}.{key}", str(value)), str(value)


@dataclass(frozen=True)
class _Place:
    """Says of a name in a pipeline file whether it is there, and what makes it."""

    file: Path
    folder: Path

    def make(self, target: str) -> str:
        return f"make {target} CONFIG={self.file}"

    def data(self, name: str, value: str) -> Fact:
        path = Path(value).expanduser()
        if path.exists():
            return Fact(PART, name, "ok", value)
        return self._own(name, path) or Fact(PART, name, "missing", f"no such file: {value}", f"put it at {value}", needed=True)

    def model(self, name: str, value: str, engine: str | None) -> Fact:
        path = Path(value).expanduser()
        if engine == "fake":
            return self.data(name, value)
        if path.is_dir():
            if any((path / known).is_file() for known in ("config.json", "modules.json")):
                return Fact(PART, name, "ok", value)
            return Fact(PART, name, "broken", f"{value} has no config.json, so it is no model", needed=True)
        local = value.startswith((".", "/", "~", "models/")) or value.count("/") > 1
        remedy = "make models" if value.startswith("models/") else f"put the model at {value}"
        lost = Fact(PART, name, "missing", f"no such folder: {value}", remedy, needed=True)
        return self._own(name, path) or (lost if local else _hub(name, value))

    def _own(self, name: str, path: Path) -> Fact | None:
        """The row of something that the pipeline itself makes; None for anything else."""
        if not path.is_relative_to(self.folder) or self.folder == Path():
            return None
        target = _target(path.relative_to(self.folder).parts[0], str(path)) if path != self.folder else "all"
        return Fact(PART, name, "later", f"{path}: not made yet", self.make(target))


def _target(output: str, default: str) -> str:
    return "train-rrpo" if output.startswith("rrpo-") else OUTPUTS.get(output, default)


def _hub(name: str, value: str) -> Fact:
    """The row of a hub's model: in its cache, or fetched when it is first used, which an offline machine cannot."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    if any(cache.glob(f"models--{value.replace('/', '--')}/snapshots/*")):
        return Fact(PART, name, "ok", f"{value} (in the cache of the hub)")
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        return Fact(PART, name, "missing", f"{value} is not in the hub's cache, and HF_HUB_OFFLINE is set", needed=True)
    return Fact(PART, name, "later", f"{value}: fetched from the hub when it is first used", f"hf download {value}")


def _never_made(content: dict[str, Any]) -> set[str]:
    """Outputs that this pipeline leaves out, as the Makefile does: a small reranker needs no LLM to be trained."""
    train = configs.section_of(content, ["train"])
    small = bool(_policies(content))
    left_out = {"bc", "sft", "sampled.jsonl", "rewarded.jsonl", "dpo-data", "dpo"} if small else set()
    if "reranker" not in train:
        left_out |= {"reranker", "labelled.jsonl"} if small else {"reranker"}
    return left_out | (set() if "dense" in configs.section_of(content, ["index"]) else {"dense"})


def _policies(content: dict[str, Any]) -> list[str]:
    """Folders of the small rerankers that the pipeline trains."""
    return [f"rrpo-{name}" for name in str(configs.section_of(content, ["run"]).get("policies") or "").split()]


def _outputs(content: dict[str, Any], place: _Place) -> Iterator[Fact]:
    """One row per output of the run: made, begun or not yet."""
    names = [name for name in OUTPUTS if name not in _never_made(content)]
    place_of_policies = names.index("predictions")
    for name in names[:place_of_policies] + _policies(content) + names[place_of_policies:]:
        target = _target(name, name)
        output = place.folder / name
        whole = manifest_path(output).exists() or (name in ("predictions", "report.json") and output.exists())
        begun = output.with_name(f"{name}.partial").exists()
        words = f"{output}: made" if whole else f"{output}: begun" if begun else f"{output}: not made yet"
        yield Fact("run", target, "ok" if whole else "later", words, "" if whole else place.make(target))
