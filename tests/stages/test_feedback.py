"""The reader's feedback: rewards by hand, one call for all, and a cache that knows readers and prompts apart."""

import msgspec
import pytest

from dynamicrag_cli.adapters.engines.cached import MEMORY, CachedEngine, ReplyCache
from dynamicrag_cli.core.engine import Completion
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import Rollout
from dynamicrag_cli.core.rewards import READER_TERMS, parse_weights, total
from dynamicrag_cli.stages.feedback import Feedback, reader_terms
from tests.adapters.rrpo.tables import WEIGHTS, feedback
from tests.builders import GOLD, ScriptedEngine, default_prompts, failing, retrieved, says

RECORD = retrieved("abc")


@pytest.mark.parametrize(
    ("answer", "weights", "value"),
    [
        (GOLD, "em=1 f1=1 hit=1", 3.0),
        ("in Donaueschingen", "em=1 f1=1 hit=1", 0 + 2 / 3 + 1),
        ("Ulm", "em=1 f1=1 hit=1", -1.0),
        ("", "em=1 f1=1 hit=1", -1.0),
        (GOLD, "em=0.5", 0.5),
        (GOLD, "rouge=2 em=0", 2.0),
        (GOLD, "length=1", 1 / 3),
        ("in Ulm, I say", "length_answer=2", 2 / 5),
    ],
)
def test_rewards_by_hand(answer: str, weights: str, value: float) -> None:
    asked = [(RECORD, ("b", "a"))]
    made = Feedback(says(answer), default_prompts(), parse_weights(weights, READER_TERMS))(asked)
    assert made == [pytest.approx(value)]


def test_a_task_with_labels_is_right_by_its_label() -> None:
    record = retrieved("a", dataset="fever", answers=["SUPPORTS"])
    for answer, value in (("Supported.", 1.0), ("Refutes", 0.0)):
        assert reader_terms(record, Rollout(selection=["a"], status="ok", answer=answer))["em"] == value
    assert total(reader_terms(record, Rollout(selection=["a"], status="ok")), {"f1": 1.0}) is None


def test_terms_of_models_are_asked_about_all_answers_at_once_and_a_failed_one_has_no_reward() -> None:
    engine = ScriptedEngine(lambda request, _: GOLD if "Text of b" in request.chat.user else "Ulm")
    seen = []

    def grade(jobs):
        seen.append([(record.id, answer) for record, answer in jobs])
        return [0.5, None, float("nan")]

    made = Feedback(engine, default_prompts(), {"em": 1.0, "judge": 2.0}, {"judge": grade})
    assert made([(RECORD, ("b",)), (RECORD, ("a",)), (RECORD, ())]) == [2.0, None, None]
    assert seen == [[(RECORD.id, GOLD), (RECORD.id, "Ulm"), (RECORD.id, "Ulm")]]
    assert (made.n_asked, made.reasons.total()) == (3, 2)


def test_an_answer_that_failed_is_not_graded() -> None:
    made = Feedback(failing(), default_prompts(), {"judge": 1.0}, {"judge": lambda jobs: [1.0] * len(jobs)})
    assert made([(RECORD, ("a",))]) == [None]


def test_everything_is_asked_in_one_call_in_the_order_of_the_lists() -> None:
    engine = ScriptedEngine(lambda request, _: GOLD if "Text of b" in request.chat.user else "Ulm")
    made = feedback(engine)
    asked = [(RECORD, ()), (RECORD, ("a",)), (RECORD, ("b", "a")), (RECORD, ("a",))]
    assert made(asked) == [-1.0, -1.0, 3.0, -1.0]
    assert [len(call) for call in engine.calls] == [3]
    user = engine.requests[2].chat.user
    assert user.index("Text of b") < user.index("Text of a")
    assert (made.n_asked, made.reasons) == (4, {})


def test_the_second_time_nothing_is_asked_and_weights_may_change() -> None:
    cache = ReplyCache(MEMORY)
    assert feedback(says("Donaueschingen"), cache)([(RECORD, ("a",))]) == [3.0]
    silent = Feedback(CachedEngine(failing(), cache, "reader"), default_prompts(), {"em": 0.5})
    assert silent([(RECORD, ("a",))]) == [0.5]
    assert (silent.n_asked, silent.reasons) == (1, {})


@pytest.mark.parametrize("change", ["reader", "order", "text", "question", "prompt", "rule"])
def test_another_reader_order_text_or_prompt_is_asked_anew(change: str) -> None:
    cache = ReplyCache(MEMORY)
    feedback(says("Ulm"), cache)([(RECORD, ("a", "b"))])
    record, selection, name, prompts = RECORD, ("a", "b"), "reader", default_prompts()
    if change == "reader":
        name = "another"
    elif change == "order":
        selection = ("b", "a")
    elif change == "text":
        record = msgspec.structs.replace(RECORD, docs=[msgspec.structs.replace(RECORD.docs[0], text="New."), *RECORD.docs[1:]])
    elif change == "question":
        record = msgspec.structs.replace(RECORD, question="Another?")
    elif change == "prompt":
        prompts = PromptSet({**prompts.sources, "passage.jinja": "{{ text }}"}, prompts.rules)
    else:
        prompts = PromptSet(prompts.sources, {**prompts.rules, "short-phrase": "Be brief."})
    engine = says(GOLD)
    assert Feedback(CachedEngine(engine, cache, name), prompts, WEIGHTS)([(record, selection)]) == [3.0]
    assert len(engine.requests) == 1


def test_a_failure_has_no_reward_and_is_asked_again() -> None:
    cache = ReplyCache(MEMORY)
    made = feedback(failing(), cache)
    assert made([(RECORD, ("a",)), (RECORD, ("a",))]) == [None, None]
    assert made.reasons.total() == 2


def test_reasons_are_counted_without_the_numbers_in_them() -> None:
    made = feedback(
        ScriptedEngine(lambda request, _: Completion("", "error", error=f"{len(request.chat.user)} tokens are too many"))
    )
    assert made([(RECORD, ("a",)), (RECORD, ("a", "b"))]) == [None, None]
    assert made.reasons == {"N tokens are too many": 2}


def test_a_failure_is_asked_again_by_the_next_run() -> None:
    cache = ReplyCache(MEMORY)
    assert feedback(failing(), cache)([(RECORD, ("a",))]) == [None]
    assert feedback(says(GOLD), cache)([(RECORD, ("a",))]) == [3.0]
