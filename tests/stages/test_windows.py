"""Pools that are larger than a prompt: every candidate can be chosen, in few calls, and the rounds end."""

import re

import pytest

from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.records import RetrievedQuestion, Rollout
from dynamicrag_cli.core.selectors import parse_selector
from dynamicrag_cli.stages.rollouts import infer, select_with_model
from dynamicrag_cli.stages.windows import Limits, first_candidates, narrow
from tests.builders import GOLD, ScriptedEngine, default_prompts, doc, failing, labelled, retrieved, says

PROMPTS = default_prompts()
GREEDY = SamplingOptions()


def pool(n: int, gold: int = -1, **fields) -> RetrievedQuestion:
    docs = [doc(f"p{place}", "The needle." if place == gold else f"Hay number {place}.") for place in range(n)]
    return retrieved(**{"docs": docs, **fields})


def shown(request: ChatRequest) -> list[str]:
    """Ids of the passages in a prompt, in order."""
    return re.findall(r"Title (p\d+)", request.chat.user)


def seeker(*, otherwise: str = "None") -> ScriptedEngine:
    """Chooses the needle where it sees it."""

    def reply(request: ChatRequest, _sample: int) -> str:
        found = re.search(r"The needle\. \[(\d+)\]", request.chat.user)
        return f"[{found[1]}]" if found else otherwise

    return ScriptedEngine(reply)


def everything(request: ChatRequest, _sample: int) -> str:
    return ", ".join(f"[{number}]" for number in range(1, len(shown(request)) + 1))


def test_the_only_gold_passage_is_found_at_each_of_500_places() -> None:
    records = [pool(500, place, id=f"q-{place}") for place in range(500)]
    engine = seeker()
    made = select_with_model(records, engine, PROMPTS, GREEDY, Limits(40))
    assert [group[0].selection for group in made] == [[f"p{place}"] for place in range(500)]
    assert {(group[0].status, group[0].n_calls, group[0].n_fallbacks) for group in made} == {("ok", 14, 0)}
    assert [len(call) for call in engine.calls] == [500 * 13, 500]  # a round is one batch
    assert {len(shown(request)) for request in engine.calls[0]} == {38, 39}


def test_a_gold_passage_outlives_models_that_like_everything_or_nothing() -> None:
    for otherwise in ("[1], [2], [3], [4], [5], [6]", "I do not know."):
        made = select_with_model(
            [pool(40, place) for place in range(40)], seeker(otherwise=otherwise), PROMPTS, GREEDY, Limits(6)
        )
        assert [group[0].selection for group in made] == [[f"p{place}"] for place in range(40)]


def test_a_pool_that_one_window_holds_is_asked_as_without_windows() -> None:
    record = retrieved("abcd")
    plain, limited = says("[3], [1]"), says("[3], [1]")
    assert select_with_model([record], limited, PROMPTS, GREEDY, Limits(4)) == select_with_model([record], plain, PROMPTS, GREEDY)
    assert limited.calls == plain.calls
    empty = retrieved("")
    assert select_with_model([empty], says("None"), PROMPTS, GREEDY, Limits(4))[0][0].n_calls is None


def test_windows_are_dealt_like_cards_and_what_is_left_stands_in_retrieval_order() -> None:
    replies = iter(["[3], [1]", "[2]", "[3], [1]"])
    engine = ScriptedEngine(lambda *_: next(replies))
    ((made,),) = select_with_model([pool(7)], engine, PROMPTS, GREEDY, Limits(4))
    assert [shown(request) for request in engine.requests] == [["p0", "p2", "p4", "p6"], ["p1", "p3", "p5"], ["p0", "p3", "p4"]]
    assert [request.key for request in engine.requests] == ["select:q-1/1.1", "select:q-1/1.2", "select:q-1"]
    assert (made.selection, made.raw, made.window, made.n_calls) == (["p4", "p0"], "[3], [1]", ["p0", "p3", "p4"], 3)


@pytest.mark.parametrize(("n", "window", "rounds"), [(9, 8, 1), (64, 8, 3), (65, 8, 3), (500, 40, 4), (500, 2, 8)])
def test_a_model_that_keeps_everything_comes_to_an_end(n: int, window: int, rounds: int) -> None:
    engine = ScriptedEngine(everything)
    ((made,),) = select_with_model([pool(n)], engine, PROMPTS, GREEDY, Limits(window))
    assert len(engine.calls) == rounds + 1
    assert made.n_calls == len(engine.requests) <= 2 * n / window + 2 * rounds
    assert made.status == "ok"
    assert 1 <= len(made.selection) <= window
    assert made.selection[0] == "p0"  # retrieval order decides where the model does not


@pytest.mark.parametrize("window", range(2, 14))
def test_windows_that_must_choose_leave_enough_for_the_last_one(window: int) -> None:
    """Half of a window is the most that the command takes for --min-k."""
    for least in range(1, window // 2 + 1):
        for n in range(window + 1, 4 * window):
            (made,) = narrow(
                [pool(n)],
                lambda windows, least=least: [Rollout(selection=[d.id for d in w.docs[:least]], status="ok") for w in windows],
                lambda records: [-1] * len(records),
                Limits(window),
            )
            assert least <= len(made.record.docs) <= window


def test_none_everywhere_is_none_without_a_last_prompt() -> None:
    engine = says("None")
    ((made,),) = select_with_model([pool(9)], engine, PROMPTS, GREEDY, Limits(3))
    assert (made.selection, made.status, made.raw, made.window, made.n_calls) == ([], "none", "None", [], 3)
    assert [len(call) for call in engine.calls] == [3]


@pytest.mark.parametrize("reply", ["", "no idea", "[77]"])
def test_a_window_without_a_choice_lets_its_first_half_go_on_and_is_counted(reply: str) -> None:
    engine = ScriptedEngine(lambda request, _: reply if "/" in request.key else "[2]")
    ((made,),) = select_with_model([pool(8)], engine, PROMPTS, GREEDY, Limits(4))
    assert (made.window, made.selection, made.n_fallbacks) == (["p0", "p1", "p2", "p3"], ["p1"], 2)


def test_a_window_that_fails_fails_the_question_and_no_other() -> None:
    def reply(request: ChatRequest, _sample: int) -> str | Completion:
        return Completion("", "error", error="no memory") if request.key == "select:bad/1.2" else "[1]"

    records = [pool(8, id="bad"), pool(8, id="good")]
    (bad,), (good,) = select_with_model(records, ScriptedEngine(reply), PROMPTS, GREEDY, Limits(4))
    assert (bad.status, bad.error) == ("failed", "1 of 2 windows failed: no memory")
    assert (good.status, good.selection) == ("ok", ["p0"])
    made = infer(records, parse_selector("llm"), failing(), says(GOLD), PROMPTS, PROMPTS, GREEDY, limits=Limits(4))
    assert ["no memory" in str(outcome) for outcome in made] == [True, True]


def test_windows_that_would_exceed_the_context_are_smaller() -> None:
    record = pool(12, 11)
    bare = len(PROMPTS.reranker(record.question, []).user.split())
    each = len(PROMPTS.reranker(record.question, record.docs[:1]).user.split()) - bare
    engine = seeker()
    engine.context = bare + 3 * each + GREEDY.max_new_tokens
    ((made,),) = select_with_model([record], engine, PROMPTS, GREEDY, Limits(6))
    assert made.selection == ["p11"]
    assert sorted(name for request in engine.calls[0] for name in shown(request)) == sorted(d.id for d in record.docs)
    assert max(len(shown(request)) for request in engine.requests) <= 3


@pytest.mark.parametrize("limits", [Limits(12), Limits(tokens=10**6)], ids=["passages", "tokens"])
def test_a_pool_within_the_limits_but_over_the_context_is_narrowed_too(limits: Limits) -> None:
    """Else its last passages would be left out of the one prompt, and could not be chosen."""
    record = pool(12, 11)
    engine = seeker()
    engine.context = len(PROMPTS.reranker(record.question, record.docs).user.split()) - 1 + GREEDY.max_new_tokens
    ((made,),) = select_with_model([record], engine, PROMPTS, GREEDY, limits)
    assert (made.selection, made.n_calls, bool(made.n_unseen)) == (["p11"], 3, False)


def test_a_budget_of_tokens_takes_the_place_of_a_number() -> None:
    record = pool(12, 7)
    engine = seeker()
    sizes = engine.excess([PROMPTS.reranker("q", record.docs), PROMPTS.reranker("q", [])], 0)
    all_tokens = sizes[0] - sizes[1]
    budget = all_tokens // 3
    ((made,),) = select_with_model([record], engine, PROMPTS, GREEDY, Limits(tokens=budget))
    assert (made.selection, made.n_calls) == (["p7"], len(engine.calls[0]) + 1)
    assert 3 <= len(engine.calls[0]) <= 6
    ((whole,),) = select_with_model([record], seeker(), PROMPTS, GREEDY, Limits(tokens=all_tokens))
    assert whole.n_calls is None


def test_passages_that_fill_a_window_each_end_the_rounds_too() -> None:
    engine = ScriptedEngine(everything)
    ((made,),) = select_with_model([pool(5)], engine, PROMPTS, GREEDY, Limits(tokens=1))
    assert [len(call) for call in engine.calls] == [5, 1]
    assert made.window == [f"p{place}" for place in range(5)]


def test_an_engine_that_cannot_count_tokens_takes_no_budget() -> None:
    engine = says("[1]")
    engine.excess = lambda chats, _limit: [0] * len(chats)  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="--max-model-len"):
        select_with_model([pool(5)], engine, PROMPTS, GREEDY, Limits(tokens=9))
    assert select_with_model([pool(5)], engine, PROMPTS, GREEDY, Limits(2))[0][0].selection == ["p0"]


def test_only_the_last_window_is_sampled() -> None:
    engine = says("[1]", "[2]")
    (group,) = select_with_model([pool(8)], engine, PROMPTS, SamplingOptions(n=2, temperature=1.0, top_p=0.9), Limits(4))
    assert [made.selection for made in group] == [["p0"], ["p1"]]
    assert [(options.n, options.temperature) for options in engine.options] == [(1, 0.0), (2, 1.0)]


def test_the_first_candidates_keep_their_relevance() -> None:
    record = labelled([0.9, 0.1, 0.5])
    cut = first_candidates(record, 2)
    assert ([d.id for d in cut.docs], cut.relevance.scores) == (["a", "b"], [0.9, 0.1])
    assert first_candidates(record, 3) is record
    assert first_candidates(record, None) is record
    assert len(first_candidates(retrieved("abc"), 1).docs) == 1
