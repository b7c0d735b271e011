import pytest

from dynamicrag_cli.core.engine import Completion, SamplingOptions
from dynamicrag_cli.core.grammar import ChoiceRules, Constraint
from dynamicrag_cli.stages.budget import Fitted
from dynamicrag_cli.stages.replies import ask_for_selections, read_selection
from dynamicrag_cli.stages.rollouts import sample, select_with_model
from tests.builders import GOLD, ScriptedEngine, default_prompts, docs, failing, retrieved, says

PROMPTS = default_prompts()


def options(n=1, temperature=0.0, **rules):
    return SamplingOptions(n=n, temperature=temperature, choice=ChoiceRules(**rules))


def select(engine, **given):
    return select_with_model([retrieved("abcd")], engine, PROMPTS, options(**given))[0]


def test_a_request_has_the_constraint_of_the_passages_that_it_shows() -> None:
    engine = says("[1]")
    record = retrieved("abcd")
    engine.context = len(PROMPTS.reranker(record.question, record.docs[:3]).user.split()) + 50
    select_with_model([record], engine, PROMPTS, options(constrained=True, min_k=1, max_k=2, stop_bias=0.5))
    assert engine.requests[0].constraint == Constraint(3, 1, 2, 0.5)
    select(engine, min_k=1)
    assert engine.requests[1].constraint is None


@pytest.mark.parametrize(("policy", "selection"), [("drop", ["b"]), ("strict", [])])
def test_a_malformed_reply_is_kept_in_part_or_not_at_all(policy, selection) -> None:
    made = select(says("[2], [9]"), invalid=policy)[0]
    assert (made.selection, made.status, made.raw) == (selection, "out_of_range", "[2], [9]")
    good = select(says("[2]"), invalid=policy)[0]
    assert (good.selection, good.status) == (["b"], "ok")


def test_nothing_is_answered_from_a_malformed_reply_under_strict() -> None:
    reader = says(GOLD)
    (made,) = sample([retrieved("abcd")], says("[2], [2]", "None"), reader, PROMPTS, PROMPTS, options(n=2, invalid="strict"))
    assert [rollout.answer for rollout in made.rollouts] == [None, GOLD]
    assert len(reader.requests) == 1


def test_a_malformed_reply_is_asked_for_again_with_other_noise() -> None:
    """Of three samples the second is malformed; a second malformed reply leaves the first in place."""

    def reply(request, number):
        return (
            "[3]"
            if request.key.endswith(":again:1")
            else ["[1]", "two", "[9], [4]"][number]
            if ":again" not in request.key
            else "no"
        )

    engine = ScriptedEngine(reply)
    made = select(engine, n=3, temperature=0.7, invalid="retry-once")
    assert [(rollout.selection, rollout.status) for rollout in made] == [(["a"], "ok"), (["c"], "ok"), (["d"], "out_of_range")]
    assert [request.key for request in engine.calls[1]] == ["select:q-1:again:1", "select:q-1:again:2"]
    assert [given.temperature for given in engine.options] == [0.7, 0.7]
    assert [given.n for given in engine.options] == [3, 1]


def test_a_greedy_reply_is_asked_for_again_at_temperature_1_and_a_good_or_failed_one_not() -> None:
    engine = ScriptedEngine(lambda request, _: "[1]" if ":again" in request.key else "the first")
    assert select(engine, invalid="retry-once")[0].status == "ok"
    assert [given.temperature for given in engine.options] == [0.0, 1.0]
    for engine in (says("[1]"), failing()):
        select(engine, invalid="retry-once")
        assert len(engine.calls) == 1


def test_no_second_call_without_the_policy() -> None:
    engine = says("nonsense")
    select(engine)
    assert len(engine.calls) == 1


def test_stop_probabilities_reach_the_rollout() -> None:
    made = select(says(Completion("[1]", "stop", stop_probs=(0.1, 0.987654321))), constrained=True)[0]
    assert made.stop_probs == [0.1, 0.987654]
    assert select(says("[1]"))[0].stop_probs is None


def test_a_cut_reply_is_read_as_one() -> None:
    shown = Fitted(docs("ab"), PROMPTS.reranker("Why?", docs("ab")))
    assert read_selection(shown, Completion("[1], [2", "length")).status == "truncated"
    assert ask_for_selections([], [], says(), options()) == []
