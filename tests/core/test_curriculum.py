from collections import Counter

import pytest

from dynamicrag_cli.core.curriculum import Lesson, lesson_of, parse_curriculum
from dynamicrag_cli.core.errors import UsageError


def test_lessons_are_read():
    assert parse_curriculum("") == ()
    assert parse_curriculum("2:0.2  3:.1") == (Lesson(2, 0.2), Lesson(3, 0.1))


@pytest.mark.parametrize("text", ["2", "2:", ":0.1", "2:x", "1:0.5", "2:0", "2:-1", "2:1.5", "2:0.6 3:0.6", "2:nan"])
def test_wrong_lessons_are_refused(text):
    with pytest.raises(UsageError, match="curriculum"):
        parse_curriculum(text)


def test_questions_are_shared_out_as_the_shares_say():
    curriculum = parse_curriculum("2:0.25 3:0.25")
    places = Counter(lesson_of(curriculum, 0, str(number)) for number in range(4000))
    assert set(places) == {(0, 2), (1, 3), (2, None)}
    assert places[0, 2] == pytest.approx(1000, abs=150)
    assert places[1, 3] == pytest.approx(1000, abs=150)


def test_the_seed_decides():
    curriculum = parse_curriculum("2:0.5")
    first, second = ([lesson_of(curriculum, seed, str(number)) for number in range(50)] for seed in (0, 1))
    assert first != second
    assert first == [lesson_of(curriculum, 0, str(number)) for number in range(50)]
