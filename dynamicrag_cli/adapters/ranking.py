"""Ranking metrics by ir_measures, which computes them with trec_eval."""

from collections.abc import Mapping, Sequence

import ir_measures
from ir_measures import RR, R, Success, nDCG

from dynamicrag_cli.core.ranking import Ranked


def rank_scores(ranked: Mapping[str, Ranked], cutoffs: Sequence[int], *, any_hit: bool) -> dict[str, dict[str, float]]:
    """recall@k and nDCG@k for every cutoff, and MRR, per question; each in [0, 1], 0 where nothing is wanted or found.

    With `any_hit`, recall@k is 1 as soon as one wanted item is among the first k. The gains of nDCG are linear, as in trec_eval
    (Järvelin and Kekäläinen 2002).
    """
    found_at = {(Success if any_hit else R) @ k: f"recall@{k}" for k in cutoffs} | {RR: "mrr"}
    gained_at = {nDCG @ k: f"ndcg@{k}" for k in cutoffs}
    wanted = {name: dict.fromkeys(found.wanted, 1) for name, found in ranked.items()}
    gains = {name: wanted[name] if found.gains is None else dict(found.gains) for name, found in ranked.items()}
    # Falling scores, none twice: trec_eval orders by score and breaks ties by id.
    run = {name: {item: -float(rank) for rank, item in enumerate(found.items)} for name, found in ranked.items()}
    order = [f"recall@{k}" for k in cutoffs] + [f"ndcg@{k}" for k in cutoffs] + ["mrr"]
    scores: dict[str, dict[str, float]] = {name: dict.fromkeys(order, 0.0) for name in ranked}
    for names, qrels in ((found_at, wanted), (gained_at, gains)):
        for metric in ir_measures.iter_calc([*names], qrels, run):
            scores[metric.query_id][names[metric.measure]] = min(metric.value, 1.0)
    return scores
