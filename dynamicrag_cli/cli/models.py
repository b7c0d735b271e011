"""Opening engines and prompts from the options of a command."""

import atexit
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.engines.cached import CachedEngine, ReplyCache, Tally, caller
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.files.templates import load_prompts
from dynamicrag_cli.adapters.pretrained import orders_only
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.core.engine import Engine
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import RetrievedQuestion
from dynamicrag_cli.core.selectors import MODEL_SELECTORS, Positions, Selector

NO_CACHE = "none"


def engine_settings(ctx: typer.Context) -> EngineSettings:
    """Engine settings from the options that the command has."""
    named = {field.name: ctx.params.get(field.name) for field in fields(EngineSettings)}
    return EngineSettings(**{name: value for name, value in named.items() if value is not None})


class Closing:
    """What is done when the command ends, however it ends; sent to another process, when that process ends."""

    def __init__(self, register: Callable[[Callable[[], None]], object] = atexit.register) -> None:
        self.register = register

    def __reduce__(self) -> tuple[type["Closing"], tuple[()]]:
        return Closing, ()


def open_engine(
    name: str,
    model: str,
    settings: EngineSettings,
    closing: Closing,
    cache: str | Path | None = None,
    tally: Tally | None = None,
) -> Engine:
    """Load a model in an engine; with a `cache` (a file, not None or "none") it is asked no greedy question twice."""
    # Opened first: a file that is no cache is told before a model is loaded.
    replies = None if cache in (None, NO_CACHE) else ReplyCache(str(cache))
    engine: Engine = registry.load("engine", name, registry.ENGINES)(model, settings)
    if replies:
        engine = CachedEngine(engine, replies, caller(name, model, settings), tally)
    closing.register(engine.close)
    return engine


def open_pair(
    settings: EngineSettings,
    closing: Closing,
    engine: str,
    model: str | None,
    reader: str | None,
    cache: str | None = None,
    tally: Tally | None = None,
) -> tuple[Engine | None, Engine]:
    """The policy (None if there is no `model`) and the reader; one and the same engine where both are the same model."""
    names = [name for name in dict.fromkeys((model, reader)) if name]
    if len(names) == 2:
        settings = replace(settings, memory_share=0.5)
    opened = [open_engine(engine, name, settings, closing, cache, tally) for name in names]
    return opened[0] if model else None, opened[-1]


def open_ranker(
    selector: Selector, model: str, device: str | None, stop_bias: float
) -> Callable[[Sequence[RetrievedQuestion]], Sequence[Positions]]:
    """The model of a selector that has one of its own; a relevance that its scores do not have is told."""
    if selector.threshold is not None and orders_only(model):
        say(f"{selector}: the scores of {model} were trained to order passages, so a relevance of {selector.threshold:g} is "
            "no probability; train one with --loss binary, or take cross-encoder:K")  # fmt: skip
    table = {name: registry.Entry("rrpo.selector:ModelSelector", "local", "") for name in MODEL_SELECTORS}
    loaded: Any = registry.load("selector", selector.name, table)(selector, model, device, stop_bias)
    return loaded  # type: ignore[no-any-return]


def tokenizer_control_tokens(tokenizer: str | None) -> frozenset[str]:
    """Every added token of a tokenizer; none for None (the common chat families are always neutralised)."""
    if tokenizer is None:
        return frozenset()
    loader: Any = registry.load(
        "tokenizer", "control-tokens", {"control-tokens": registry.Entry("engines.tokens:control_tokens", "local", "")}
    )
    return frozenset(loader(tokenizer))


def prompts_for(templates: Path | None, control_tokens: frozenset[str]) -> PromptSet:
    """The prompt set of a template folder for a model with these control tokens."""
    return load_prompts(templates, control_tokens)
