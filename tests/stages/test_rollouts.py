import pytest

from dynamicrag_cli.adapters.engines.fake import FakeEngine
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import Completion, SamplingOptions
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Prediction, Rollout, SampledQuestion
from dynamicrag_cli.core.selectors import parse_selector
from dynamicrag_cli.stages.rollouts import answer, infer, sample, select_by_rule, select_with_model
from tests.builders import GOLD, ScriptedEngine, default_prompts, failing, labelled, retrieved, rollout, says

PROMPTS = default_prompts()


def draw(records, policy, reader, n=1, **options):
    return sample(records, policy, reader, PROMPTS, PROMPTS, SamplingOptions(n=n, temperature=1.0, **options))


def predict(records, selector="llm", policy=None, reader=None):
    return infer(records, parse_selector(selector), policy, reader or says(GOLD), PROMPTS, PROMPTS, SamplingOptions())


def test_replies_become_passage_ids():
    (group,) = select_with_model([retrieved("abcd")], says("[3], [1]", "None", "[9]", "[2] fits"), PROMPTS, SamplingOptions(n=4))
    assert [(made.selection, made.status, made.raw) for made in group] == [
        (["c", "a"], "ok", "[3], [1]"),
        ([], "none", "None"),
        ([], "out_of_range", "[9]"),
        (["b"], "extra_text", "[2] fits"),
    ]
    assert all(made.answer is None and made.error is None for made in group)


def test_reply_cut_by_the_limit_is_truncated():
    ((made,),) = select_with_model([retrieved()], says(Completion("[3], [1", "length")), PROMPTS, SamplingOptions())
    assert (made.selection, made.status) == (["c"], "truncated")


def test_failed_reply_is_a_failed_selection():
    ((made,),) = select_with_model([retrieved()], failing("no memory"), PROMPTS, SamplingOptions())
    assert made == Rollout(selection=[], status="failed", error="no memory")


def test_candidates_that_do_not_fit_are_not_offered_and_the_record_says_so():
    record = retrieved("abcd")
    policy = says("[1], [4]")
    n_words = len(PROMPTS.reranker(record.question, record.docs).user.split())
    policy.context = n_words - 1 + 100
    ((made,),) = select_with_model([record], policy, PROMPTS, SamplingOptions(max_new_tokens=100))
    assert "Title d" not in policy.requests[0].chat.user
    assert (made.selection, made.status, made.n_unseen, made.n_unread) == (["a"], "out_of_range", 1, 0)


def test_chosen_passages_that_do_not_fit_are_not_read_and_the_record_says_so():
    record = retrieved("abcd")
    reader = says(GOLD)
    reader.context = len(PROMPTS.generator(record, record.docs[:2]).user.split()) + 50
    (made,) = predict([record], "all", reader=reader)
    assert made.rollout.selection == list("abcd")
    assert (made.rollout.n_unread, made.rollout.cut, made.rollout.answer) == (2, False, GOLD)
    assert "Title b" in reader.requests[0].chat.user
    assert "Title c" not in reader.requests[0].chat.user


def test_sample():
    policy, reader = (
        says("[1]", "None", "[1]"),
        ScriptedEngine(lambda request, _: GOLD if "Title a" in request.chat.user else "Ulm"),
    )
    (made,) = draw([retrieved("ab")], policy, reader, n=3)
    assert isinstance(made, SampledQuestion)
    assert [(r.selection, r.answer, r.n_reader_tokens) for r in made.rollouts] == [
        (["a"], GOLD, 7),
        ([], "Ulm", 7),
        (["a"], GOLD, 7),
    ]


def test_equal_selections_of_a_question_are_answered_once():
    policy, reader = says("[1], [2]", "[2], [1]", "[1], [2]", "None"), says(GOLD)
    draw([retrieved("ab"), retrieved("ab", id="q-2")], policy, reader, n=4)
    assert [request.key for request in reader.requests] == [
        f"answer:{name}:{selection}" for name in ("q-1", "q-2") for selection in ("a,b", "b,a", "")
    ]


def test_engines_are_called_once_with_everything():
    policy, reader = says("[1]", "[2]"), says(GOLD)
    draw([retrieved(id=str(number)) for number in range(5)], policy, reader, n=2, seed=3)
    assert [len(call) for call in policy.calls] == [5]
    assert [len(call) for call in reader.calls] == [10]
    assert policy.options == [SamplingOptions(n=2, temperature=1.0, seed=3)]
    assert reader.options == [SamplingOptions(n=1, temperature=0.0, max_new_tokens=50, seed=3)]


def test_answer_length_follows_the_task():
    reader = says(GOLD)
    records = [retrieved(id="1"), retrieved(id="2", dataset="eli5"), retrieved(id="3", dataset="nq")]
    draw(records, says("[1]"), reader)
    assert {
        options.max_new_tokens: [request.key for request in call]
        for call, options in zip(reader.calls, reader.options, strict=True)
    } == {
        50: ["answer:1:a", "answer:3:a"],
        256: ["answer:2:a"],
    }


def test_chosen_passages_are_renumbered_in_the_chosen_order():
    reader = says(GOLD)
    draw([retrieved("abcd")], says("[4], [2]"), reader)
    user = reader.requests[0].chat.user
    assert user.index("Text of d. [1]") < user.index("Text of b. [2]")
    assert "Title a" not in user
    assert "[3]" not in user


@pytest.mark.parametrize(
    ("reply", "answered"), [("[2] fits", True), ("[9], [1]", True), ("I do not know", False), ("", False), ("[9]", False)]
)
def test_malformed_selection_is_answered_only_from_identifiers(reply, answered):
    reader = says(GOLD)
    (made,) = draw([retrieved()], says(reply), reader)
    assert made.rollouts[0].answer == (GOLD if answered else None)
    assert made.rollouts[0].error is None
    assert len(reader.requests) == answered


def test_question_whose_rollouts_all_failed_is_rejected():
    (made,) = draw([retrieved()], failing("no memory"), says(GOLD), n=2)
    assert isinstance(made, ValueError)
    assert "no memory" in str(made)


def test_question_with_one_good_rollout_is_kept():
    policy = says("[1]", Completion("", "error", error="no memory"))
    (made,) = draw([retrieved()], policy, says(GOLD), n=2)
    assert [(r.status, r.answer, r.error) for r in made.rollouts] == [("ok", GOLD, None), ("failed", None, "no memory")]


def test_failed_answer_is_no_answer():
    reader = ScriptedEngine(
        lambda request, _: Completion("", "error", error="too long") if "Title a" in request.chat.user else GOLD
    )
    (made,) = draw([retrieved("ab")], says("[1]", "[2]"), reader, n=2)
    assert [(r.answer, r.error) for r in made.rollouts] == [(None, "too long"), (GOLD, None)]


def test_reasoning_is_neither_choice_nor_answer():
    policy = says("<think>\nThe second, [1] is off topic.\n</think>\n\n[2]")
    (made,) = draw([retrieved("ab")], policy, says(f"<think>[2] says so.</think>{GOLD}"))
    assert [(r.selection, r.status, r.answer) for r in made.rollouts] == [(["b"], "ok", GOLD)]
    assert "off topic" in made.rollouts[0].raw
    (failed,) = draw([retrieved("ab")], says("[1]"), says("<think>[1] says that"))
    assert "the answer ended within the model's reasoning" in str(failed)


def test_one_bad_question_leaves_the_others_alone():
    policy = ScriptedEngine(lambda request, _: Completion("", "error", error="bad") if request.key == "select:q-2" else "[1]")
    made = draw([retrieved(), retrieved(id="q-2"), retrieved(id="q-3")], policy, says(GOLD))
    assert [type(outcome) for outcome in made] == [SampledQuestion, ValueError, SampledQuestion]


def test_relevance_is_carried_on():
    source = labelled([0.9, 0.1])
    (made,) = draw([source], says("[1]"), says(GOLD))
    assert made.relevance == source.relevance
    (guess,) = predict([source], policy=says("[1]"))
    assert guess.relevance == source.relevance


def test_answer_keeps_the_selections():
    given = [[rollout("a", None), rollout("", None)]]
    ((first, second),) = answer([retrieved()], given, says("x"), PROMPTS)
    assert (first.selection, first.status, first.answer) == (["a"], "ok", "x")
    assert (second.selection, second.status, second.answer) == ([], "none", "x")


@pytest.mark.parametrize(
    ("selector", "selection", "status"), [("none", [], "none"), ("all", ["a", "b"], "ok"), ("top-k:1", ["a"], "ok")]
)
def test_selector_without_a_model(selector, selection, status):
    assert select_by_rule(retrieved("ab"), parse_selector(selector)) == Rollout(selection=selection, status=status)
    (made,) = predict([retrieved("ab")], selector)
    assert isinstance(made, Prediction)
    assert (made.selector, made.rollout.selection, made.rollout.status, made.rollout.answer) == (
        selector,
        selection,
        status,
        GOLD,
    )
    assert made.rollout.raw is None


def test_infer_with_a_model():
    (made,) = predict([retrieved("ab")], policy=says("[2]"))
    assert (made.selector, made.rollout.selection, made.rollout.raw, made.rollout.answer) == ("llm", ["b"], "[2]", GOLD)


def test_record_that_the_selector_cannot_serve_comes_back_as_the_error():
    made = predict(
        [retrieved("ab", gold_passage_ids=["b"]), retrieved(id="q-2"), retrieved("", id="q-3", gold_passage_ids=[])], "gold"
    )
    assert [outcome.rollout.selection if isinstance(outcome, Prediction) else str(outcome) for outcome in made] == [
        ["b"],
        "the question has no gold_passage_ids, which the selector 'gold' needs",
        [],
    ]


def test_fake_engine_plays_both_roles(tmp_path):
    script = tmp_path / "script.json"
    last_line = PROMPTS.reranker("Why?", []).user.splitlines()[-1]
    script.write_text(f'{{"rules": [{{"contains": "{last_line}", "replies": ["[2]", "None"]}}], "default": "{GOLD}"}}')
    engine = FakeEngine(str(script), EngineSettings())
    (made,) = draw([retrieved("ab")], engine, engine, n=2)
    assert [(r.selection, r.status, r.answer) for r in made.rollouts] == [(["b"], "ok", GOLD), ([], "none", GOLD)]


def test_gold_selector_takes_a_passage_once():
    (made,) = predict([retrieved("ab", gold_passage_ids=["b", "b"])], "gold")
    assert made.rollout.selection == ["b"]


def test_another_order_is_what_is_read_and_what_is_kept():
    reader = says(GOLD)
    (made,) = predict([retrieved("abc")], "top-k:2,reversed", reader=reader)
    assert (made.rollout.selection, made.selector) == (["b", "a"], "top-k:2,reversed")
    prompt = reader.requests[0].chat.user
    assert prompt.index("Text of b") < prompt.index("Text of a")


def test_the_order_of_a_model_can_be_reversed_too():
    (made,) = predict([retrieved("abc")], "llm,reversed", policy=says("[3], [1]"))
    assert (made.rollout.selection, made.rollout.raw) == (["a", "c"], "[3], [1]")


def test_a_watcher_sees_the_choice_before_it_is_answered_and_hears_the_answer() -> None:
    seen: list[tuple[str, object]] = []

    class Watching:
        def chosen(self, record, made) -> None:
            seen.append((record.id, made.selection))

        def text(self, answer: str) -> None:
            seen.append(("text", answer))

    def read(request, _sample: int) -> str:
        request.on_text("Donau")
        return GOLD

    arguments = (parse_selector("gold"), None, ScriptedEngine(read), PROMPTS, PROMPTS, SamplingOptions())
    records = [retrieved("ab", gold_passage_ids=["b"]), retrieved("ab", id="q-2")]
    made = infer(records, *arguments, watcher=Watching())
    assert seen == [("q-1", ["b"]), ("text", "Donau")]
    assert made[0].rollout.answer == GOLD
    assert isinstance(made[1], InputError)
