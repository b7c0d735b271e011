"""Balanced lengths of cloning targets by leaving questions out, never by padding a target."""

from collections.abc import Mapping

from dynamicrag_cli.core.splits import unit_hash


def kept_counts(counts: Mapping[int, int], none_share: float, length_share: float) -> dict[int, int]:
    """How many questions of each target length stay, so that no length has more than its share of those that stay.

    The most questions M are kept for which sum over lengths of min(n_k, floor(c_k M)) is M, with c_k = `length_share` and
    c_0 = min(`none_share`, `length_share`); shares are in [0, 1]. Nothing stays where no such M is above 0, as with one length
    alone and a share below 1.
    """
    caps = {length: min(none_share, length_share) if length == 0 else length_share for length in counts}
    kept = dict(counts)
    while True:
        total = sum(kept.values())
        fewer = {length: min(n, int(caps[length] * total + 1e-9)) for length, n in counts.items()}
        if sum(fewer.values()) == total:
            return fewer
        kept = fewer


def left_out(lengths: Mapping[str, int], none_share: float, length_share: float, seed: int) -> set[str]:
    """The questions that go, of `lengths` by question id: those of the highest hash of (seed, id) within their length."""
    by_length: dict[int, list[str]] = {}
    for name, length in lengths.items():
        by_length.setdefault(length, []).append(name)
    kept = kept_counts({length: len(names) for length, names in by_length.items()}, none_share, length_share)
    return {
        name
        for length, names in by_length.items()
        for name in sorted(names, key=lambda name: unit_hash("balance", seed, name))[kept[length] :]
    }
