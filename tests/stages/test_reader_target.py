from dynamicrag_cli.core.engine import Completion
from dynamicrag_cli.stages.reader_target import reader_targets
from tests.builders import GOLD, ScriptedEngine, default_prompts, failing, labelled, says

SCORES = [0.2, 0.9, 0.6]  # the teacher's order is b c a


def knows(*titles):
    """Answers right once it reads all of these."""
    return ScriptedEngine(lambda request, _n: GOLD if all(f"Title {t}: " in request.chat.user for t in titles) else "unknown")


def find(records, engine, cap=15):
    return reader_targets(records, engine, default_prompts(), cap)


def test_shortest_prefix_of_the_teachers_order():
    assert find([labelled(SCORES)], knows("b")) == [(1,)]
    assert find([labelled(SCORES)], knows("c")) == [(1, 2)]
    assert find([labelled(SCORES)], knows("a")) == [(1, 2, 0)]


def test_reader_that_needs_nothing_gives_an_empty_target():
    assert find([labelled(SCORES)], knows()) == [()]


def test_no_prefix_no_target():
    assert find([labelled(SCORES)], says("Vienna")) == [None]
    assert find([labelled(SCORES)], knows("a"), cap=2) == [None]
    assert find([labelled(SCORES, answers=[])], says(GOLD)) == [None]


def test_questions_of_one_length_are_asked_together_and_settled_ones_no_more():
    engine = knows("b")
    records = [labelled(SCORES, id="one"), labelled([0.5], id="two"), labelled([], id="three")]
    assert find(records, engine) == [(1,), None, None]
    assert [[request.key for request in call] for call in engine.calls] == [
        ["answer:one:", "answer:two:", "answer:three:"],
        ["answer:one:b", "answer:two:a"],
    ]


def test_failure_is_told_and_is_no_target():
    (found,) = find([labelled(SCORES)], failing())
    assert isinstance(found, ValueError)
    assert str(found) == "the reader failed: no memory"


def test_a_full_prompt_ends_the_search():
    engine = ScriptedEngine(lambda _request, _n: Completion("Vienna", "stop"))
    find([labelled(SCORES)], engine)
    one_passage = len(engine.requests[1].chat.user.split()) + 50
    short = ScriptedEngine(lambda _request, _n: "Vienna", context=one_passage)
    assert find([labelled(SCORES)], short) == [None]
    assert [len(call) for call in short.calls] == [1, 1, 1], "none, one, and two of which one was dropped"
