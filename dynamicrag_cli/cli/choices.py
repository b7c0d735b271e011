"""The options of `sample` and `infer` that say what the reranker may reply and how much of it counts."""

from pathlib import Path
from typing import Any

import typer

from dynamicrag_cli.adapters.files.jsonl import STREAM
from dynamicrag_cli.adapters.files.manifest import read_manifest
from dynamicrag_cli.core.engine import Engine
from dynamicrag_cli.core.errors import TooManyRejectsError, UsageError
from dynamicrag_cli.core.grammar import ChoiceRules
from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.selectors import LLM_SELECTOR, MODEL_SELECTORS, Selector


def check_choice(ctx: typer.Context, output: str) -> None:
    """Refuse options that contradict one another, before any work.

    Raises:
        UsageError: They do.
    """
    options = ctx.params
    if options["max_k"] is not None and options["min_k"] > options["max_k"]:
        raise UsageError(f"--min-k {options['min_k']} is above --max-k {options['max_k']}")
    window = options.get("window")
    if window and options["min_k"] > window // 2:
        least = 2 * options["min_k"]
        raise UsageError(f"--min-k {least // 2} needs --window {least} or more: a window lets half of its passages go on")
    if options["constrained"] is False and _clamps(options):
        raise UsageError(f"{_clamps(options)} needs constrained decoding; leave --no-constrained away")
    if options["max_malformed_rate"] < 1 and output == STREAM:
        raise UsageError("--max-malformed-rate needs -o OUT: the statuses are counted in its manifest")


def check_selector(options: dict[str, Any], selector: Selector) -> None:
    """Refuse a selector of `infer` without its model, and options that it would not hear.

    Raises:
        UsageError: There is one.
    """
    name = selector.name
    deaf = [] if name == LLM_SELECTOR else ["constrained", "min_k", "max_k", "window", "window_tokens"]
    deaf += [] if name in (LLM_SELECTOR, "rrpo") else ["stop_bias"]
    if unheard := [f"--{option.replace('_', '-')}" for option in deaf if options[option]]:
        raise UsageError(f"the selector {name!r} has no {', '.join(unheard)}, as the selector 'llm' has; leave it away")
    if name == LLM_SELECTOR and not options["model"]:
        raise UsageError("the selector 'llm' needs --model, the reranker")
    if name in MODEL_SELECTORS and not options["selector_model"]:
        raise UsageError(f"the selector {name!r} needs --selector-model, made by drag train reranker or drag train rrpo")
    if not (options["reader"] or options["model"]):
        raise UsageError("give --reader (or --model), the model that answers")


def choice_rules(options: dict[str, Any], policy: Engine | None) -> ChoiceRules:
    """What the reranker may reply by the options of the command, as far as its engine can; by default constrained where it can.

    Raises:
        UsageError: The constraint is asked for and the engine has none.
    """
    can = policy is not None and policy.constrains
    asked = "--constrained" if options["constrained"] else _clamps(options)
    if asked and policy is not None and not can:
        raise UsageError(
            f"the engine {options['engine']!r} decodes freely and has no {asked}; take --engine hf or vllm, or leave it away"
        )
    return ChoiceRules(
        constrained=can and options["constrained"] is not False,
        min_k=options["min_k"],
        max_k=options["max_k"],
        stop_bias=options.get("stop_bias", 0.0),
        invalid=options["invalid"],
        max_context_tokens=options["max_context_tokens"],
    )


def _clamps(options: dict[str, Any]) -> str:
    """The first of the options in use that only a constraint can keep; "" if there is none."""
    flags = {"min_k": "--min-k", "max_k": "--max-k", "stop_bias": "--stop-bias"}
    return next((flag for name, flag in flags.items() if options.get(name)), "")


def check_malformed(ctx: typer.Context, output: str) -> None:
    """Say by the exit code that more selections were malformed than is allowed; they are in the output all the same.

    Raises:
        TooManyRejectsError: There were.
    """
    allowed = ctx.params["max_malformed_rate"]
    if allowed == 1:
        return
    counts = {name.partition(": ")[2]: count for name, count in read_manifest(Path(output))["notes"].items()}
    n_malformed = sum(count for status, count in counts.items() if status not in WELL_FORMED)
    if n_malformed > allowed * sum(counts.values()):
        raise TooManyRejectsError(
            f"{n_malformed} of {sum(counts.values())} selections are malformed, more than --max-malformed-rate allows; their "
            f"statuses are in the manifest of {output}"
        )
