"""Questions that are asked twice in nearly the same words.

Two texts are near-duplicates if the Jaccard similarity of their shingles (the words after SQuAD's normalisation, and the pairs of
neighbouring words) reaches a threshold. All such pairs are found, and only few others are looked at: if two sets reach the
threshold t, they share one of the |x| - ceil(t |x|) + 1 rarest shingles of each (prefix filter; Chaudhuri et al. 2006, Bayardo
et al. 2007). So a hundred thousand questions need an index of their rarest words, and neither random hashes nor another library.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from dynamicrag_cli.core.metrics import normalize

THRESHOLD = 0.8
_ROUNDING = 1e-9


def shingles(text: str) -> frozenset[str]:
    """The words of the normalised text and the pairs of neighbouring ones; a script without spaces is one word a phrase."""
    words = normalize(text).split()
    return frozenset(words) | {f"{one} {other}" for one, other in pairwise(words)}


def near_pairs(sets: Sequence[frozenset[str]], threshold: float) -> Iterator[tuple[int, int]]:
    """Places of all pairs with a Jaccard similarity of at least `threshold`, in (0, 1]; an empty set is like no other."""
    counts = Counter(shingle for items in sets for shingle in items)
    index: dict[str, list[int]] = defaultdict(list)
    for place, items in enumerate(sets):
        rarest = sorted(items, key=lambda shingle: (counts[shingle], shingle))
        met: set[int] = set()
        for shingle in rarest[: len(items) - math.ceil(threshold * len(items) - _ROUNDING) + 1]:
            met.update(index[shingle])
            index[shingle].append(place)
        for other in sorted(met):
            shared = len(items & sets[other])
            if shared >= threshold * (len(items) + len(sets[other]) - shared) - _ROUNDING:
                yield other, place


def representatives(texts: Sequence[str], threshold: float = THRESHOLD) -> list[str]:
    """For every text the name of its group: the first, in alphabetical order, of the normalised texts that belong together.

    If a is like b and b is like c, all three are one group. The order of `texts` changes nothing.
    """
    distinct = sorted({normalize(text) for text in texts})
    leader = list(range(len(distinct)))

    def find(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    for one, other in near_pairs([shingles(text) for text in distinct], threshold):
        low, high = sorted((find(one), find(other)))
        leader[high] = low
    group = {text: distinct[find(place)] for place, text in enumerate(distinct)}
    return [group[normalize(text)] for text in texts]
