"""Few candidates first: how many passages an example of the cloning data shows.

A small model that is shown all candidates from the start sees hundreds of examples before it ties an identifier to what the
passage says. Shown two, it learns that much sooner, and carries it over to more (docs/architecture.md). The idea is that of
curriculum learning (Bengio et al., 2009).
"""

from dataclasses import dataclass

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.splits import unit_hash


@dataclass(frozen=True)
class Lesson:
    """A share of the questions that is shown with few candidates.

    Attributes:
        candidates: Candidates in the prompt, at least 2.
        share: Share of the questions, in (0, 1].
    """

    candidates: int
    share: float


Curriculum = tuple[Lesson, ...]


def parse_curriculum(text: str) -> Curriculum:
    """`2:0.2 3:0.1`: a fifth of the questions with two candidates, then a tenth with three, then the rest with all.

    Raises:
        UsageError: A part is not SIZE:SHARE, a size is below 2, a share is outside (0, 1], or the shares add up to more than 1.
    """
    lessons = tuple(_lesson(part) for part in text.split())
    if sum(lesson.share for lesson in lessons) > 1 + 1e-9:
        raise UsageError(f"curriculum {text!r}: the shares add up to more than 1")
    return lessons


def _lesson(part: str) -> Lesson:
    size, _, share = part.partition(":")
    try:
        lesson = Lesson(int(size), float(share))
    except ValueError:
        raise UsageError(f"curriculum: {part!r} is not SIZE:SHARE, as in 2:0.2") from None
    if lesson.candidates < 2 or not 0 < lesson.share <= 1:
        raise UsageError(f"curriculum: {part!r} needs at least 2 candidates and a share above 0 and at most 1")
    return lesson


def lesson_of(curriculum: Curriculum, seed: int, question_id: str) -> tuple[int, int | None]:
    """Place of a question in the curriculum, from 0, and its number of candidates (None: all), a function of (seed, id)."""
    point = unit_hash("curriculum", seed, question_id)
    for place, lesson in enumerate(curriculum):
        point -= lesson.share
        if point < 0:
            return place, lesson.candidates
    return len(curriculum), None
