"""Who does the work of a record stage: this process, or the workers of a Ray cluster (`--runner`)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.stages.outcome import Outcome

LOCAL = "local"
Prepare = Callable[[], Callable[[list[Any]], Sequence[Outcome]]]
# Chunks of records in, the outcomes of each out, in order; a chunk is taken only when there is room for it.
Apply = Callable[[Iterable[list[Any]]], Iterator[Sequence[Outcome]]]


@contextmanager
def workers(ctx: typer.Context, prepare: Prepare, tally: Tally, *, here: bool = False) -> Iterator[Apply]:
    """The stage's function over chunks, as the options of the command say; `here`: in this process, whatever they say."""
    if here or (ctx.params.get("runner") or LOCAL) == LOCAL:
        yield lambda chunks: _here(prepare, chunks)
        return
    with cluster(ctx) as there:
        yield lambda chunks: there.map((prepare, tally), chunks)


def cluster(ctx: typer.Context) -> Any:
    """The cluster that the options of the command name, a context: it is left at the end."""
    kind = registry.load("runner", ctx.params["runner"], registry.RUNNERS)
    return kind(ctx.params["workers"], ctx.params["ray_address"], ctx.params["worker_gpus"])


def _here(prepare: Prepare, chunks: Iterable[list[Any]]) -> Iterator[Sequence[Outcome]]:
    """One chunk after the other; models are loaded by the first that has a record."""
    function = None
    for records in chunks:
        if records and function is None:
            function = prepare()
        yield function(records) if records and function else ()
