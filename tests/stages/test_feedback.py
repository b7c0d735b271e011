"""The reader's feedback: rewards by hand, one call for all, and a cache that knows readers and prompts apart."""

import msgspec
import pytest

from dynamicrag_cli.adapters.engines.cached import MEMORY, CachedEngine, ReplyCache
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.stages.feedback import Feedback, reader_reward
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
    ],
)
def test_rewards_by_hand(answer: str, weights: str, value: float) -> None:
    parsed = {name: float(weight) for name, weight in (part.split("=") for part in weights.split())}
    assert reader_reward(RECORD, answer, 2, parsed) == pytest.approx(value)


def test_a_task_with_labels_is_right_by_its_label() -> None:
    record = retrieved("a", dataset="fever", answers=["SUPPORTS"])
    assert reader_reward(record, "Supported.", 1, {"em": 1.0}) == 1
    assert reader_reward(record, "Refutes", 1, {"em": 1.0}) == 0


def test_everything_is_asked_in_one_call_in_the_order_of_the_lists() -> None:
    engine = ScriptedEngine(lambda request, _: GOLD if "Text of b" in request.chat.user else "Ulm")
    made = feedback(engine)
    asked = [(RECORD, ()), (RECORD, ("a",)), (RECORD, ("b", "a")), (RECORD, ("a",))]
    assert made(asked) == [-1.0, -1.0, 3.0, -1.0]
    assert [len(call) for call in engine.calls] == [3]
    user = engine.requests[2].chat.user
    assert user.index("Text of b") < user.index("Text of a")
    assert (made.n_asked, made.n_failed) == (4, 0)


def test_the_second_time_nothing_is_asked_and_weights_may_change() -> None:
    cache = ReplyCache(MEMORY)
    assert feedback(says("Donaueschingen"), cache)([(RECORD, ("a",))]) == [3.0]
    silent = Feedback(CachedEngine(failing(), cache, "reader"), default_prompts(), {"em": 0.5})
    assert silent([(RECORD, ("a",))]) == [0.5]
    assert (silent.n_asked, silent.n_failed) == (1, 0)


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
    assert made.n_failed == 2
    assert feedback(says(GOLD), cache)([(RECORD, ("a",))]) == [3.0]
