"""Reciprocal rank fusion of retrieved lists (Cormack, Clarke and Buettcher 2009)."""

from collections.abc import Sequence

RRF_CONSTANT = 60


def reciprocal_rank_fusion(rankings: Sequence[Sequence[str]], top_k: int) -> list[tuple[str, float]]:
    """Passage ids with their fused score, sum of 1/(60 + rank) over the lists; ties go to the id met first."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            scores[name] = scores.get(name, 0.0) + 1.0 / (RRF_CONSTANT + rank)
    return sorted(scores.items(), key=lambda item: -item[1])[:top_k]
