"""`drag merge`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters.files.jsonl import finish
from dynamicrag_cli.adapters.files.manifest import differences, file_hash, manifest_path, read_manifest, write_manifest
from dynamicrag_cli.adapters.files.merging import Tally
from dynamicrag_cli.adapters.files.merging import merge as merge_parts
from dynamicrag_cli.adapters.files.reuse import without_shard
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.cli.outputs import check_output
from dynamicrag_cli.cli.rejects import check_rejects, rejects_path
from dynamicrag_cli.cli.runner import chosen
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import Question, Reject
from dynamicrag_cli.core.splits import split_of

_SHOWN = 10


def merge(
    ctx: typer.Context,
    parts: Annotated[list[Path], typer.Argument(metavar="PARTS…", help="Outputs of the shards.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Merged output.", show_default=False)],
    against: Annotated[str, typer.Option(metavar="INPUT", help="The file that the shards read.", show_default=False)],
    max_reject_rate: opt.MaxRejectRate = 0.01,
) -> None:
    """Put the outputs of shards together, in the order of the input; nothing may be missing or doubled.

    The result is the file that the run without --shard would have made, and counts as that for every later command.

    Example: drag merge sampled-1.jsonl sampled-2.jsonl -o sampled.jsonl --against bc/dpo_pool.jsonl
    """
    check_output(output, (*parts, against))
    manifests = [_manifest(part) for part in parts]
    fingerprint = _common_fingerprint(parts, manifests)
    if not Path(against).is_file():
        raise InputError(f"{against}: no such file")
    if file_hash(Path(against)) != fingerprint["input"]:
        raise InputError(f"{against} is not the file that the parts were made from ({manifests[0].get('source')})")
    staged, rejects = output.with_name(output.name + ".plain"), rejects_path(output)
    staged_rejects = rejects.with_name(rejects.name + ".plain")
    tally = merge_parts(
        parts,
        [rejects_path(part) for part in parts if rejects_path(part).exists()],
        against,
        lambda numbered: _wanted(numbered, fingerprint["options"]),
        staged,
        staged_rejects,
    )
    if not tally.whole:
        staged.unlink()
        staged_rejects.unlink()
        raise InputError(f"{output} was not written: " + "; ".join(_findings(tally)))
    manifest_path(output).unlink(missing_ok=True)
    finish(staged, output)
    if tally.n_rejected:
        finish(staged_rejects, rejects)
    else:
        staged_rejects.unlink()
        rejects.unlink(missing_ok=True)
    # What the parts counted of their work besides: records of earlier runs, replies out of the cache.
    summed: Counter[str] = Counter()
    for manifest in manifests:
        summed.update(manifest["counts"])
    counts = {**summed, "in": tally.n_in, "out": tally.n_out, "rejected": tally.n_rejected}
    write_manifest(output, _merged(manifests, fingerprint, counts))
    say(f"merge: {len(parts)} parts, {tally.n_in} in, {tally.n_out} out, {tally.n_rejected} rejected -> {output}")
    check_rejects(ctx, counts, rejects)


def _manifest(part: Path) -> dict[str, Any]:
    found = read_manifest(part) if part.is_file() else {}
    if not found:
        unfinished = part.with_name(part.name + ".partial").exists()
        raise InputError(f"{part}: " + ("its run is not finished; repeat its command" if unfinished else "no output of drag"))
    return found


def _common_fingerprint(parts: list[Path], manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """The fingerprint of the run without shards, which all parts must share."""
    first = without_shard(manifests[0]["fingerprint"])
    for part, manifest in zip(parts[1:], manifests[1:], strict=True):
        if changed := differences(first, without_shard(manifest["fingerprint"])):
            raise UsageError(f"{part} was made with other settings than {parts[0]}:\n  " + "\n  ".join(changed))
    return {**first, "options": {**first["options"], "shard": None}}


def _wanted(
    numbered: Iterator[tuple[int, Question | Reject]], options: dict[str, Any]
) -> Iterator[tuple[int, Question | Reject]]:
    """The records that the run dealt with: those of its split, up to its limit."""
    split = options.get("split")
    keep = (lambda record: split_of(record, options["seed"], options["dev-share"]) == split) if split else None
    return chosen(numbered, keep, options.get("limit"), None)


def _findings(tally: Tally) -> Iterator[str]:
    for word, names in (
        ("missing", tally.missing),
        ("in several parts", tally.doubled),
        ("not in the input, or in another order", tally.strange),
    ):
        if names:
            yield f"{len(names)} {word}: {', '.join(names[:_SHOWN])}{' …' if len(names) > _SHOWN else ''}"


def _merged(manifests: list[dict[str, Any]], fingerprint: dict[str, Any], counts: dict[str, int]) -> dict[str, Any]:
    """The manifest of the whole: sums and the largest of what the parts say, and whatever else they agree on."""
    first = manifests[0]
    agreed = {name: value for name, value in first.items() if all(m.get(name) == value for m in manifests)}
    notes: dict[str, int] = {}
    strange: dict[str, int] = {}
    for manifest in manifests:
        for total, name in ((notes, "notes"), (strange, "moved_to_meta")):
            for key, count in manifest.get(name, {}).items():
                total[key] = total.get(key, 0) + count
    return {
        **agreed,
        "fingerprint": fingerprint,
        "source": first.get("source"),
        "counts": counts,
        "notes": dict(sorted(notes.items())),
        "moved_to_meta": strange,
        "seconds": round(sum(m["seconds"] for m in manifests), 3),
        "peak_memory_mib": max(m["peak_memory_mib"] for m in manifests),
        "parts": len(manifests),
    }
