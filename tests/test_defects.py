"""One regression test for each defect of the released code (METHOD.md, section 3) that core and stages could repeat.

Not here, as the part does not exist yet: 11, the 40-passage window over 500 candidates. Tested elsewhere: reruns that append to
their output (14, the runner), the header of LLaMA-3 (16, the model's own chat template in the engines).
"""

import ast
from pathlib import Path

import msgspec
import pytest

from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.adapters.rewards.judge import Judge
from dynamicrag_cli.core.doors import admit
from dynamicrag_cli.core.engine import Completion, SamplingOptions
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.identifiers import Selection, parse_selection
from dynamicrag_cli.core.metrics import contains, exact_match, label_accuracy, token_f1
from dynamicrag_cli.core.records import Question, RetrievedQuestion, RewardedQuestion, SampledQuestion
from dynamicrag_cli.core.selectors import parse_selector
from dynamicrag_cli.core.targets import evidence_target, threshold_target
from dynamicrag_cli.core.tasks import task_of
from dynamicrag_cli.stages.build_bc import GENERATOR_FILE, RERANKER_FILE, CloningOptions, build_bc
from dynamicrag_cli.stages.build_dpo import PairOptions, build_dpo
from dynamicrag_cli.stages.evaluate import evaluate
from dynamicrag_cli.stages.rerank_teacher import label_with_teacher
from dynamicrag_cli.stages.reward import reward
from dynamicrag_cli.stages.rollouts import infer, sample
from tests.builders import (
    GOLD,
    ScriptedEngine,
    default_prompts,
    labelled,
    prediction,
    question,
    retrieved,
    rewarded,
    rollout,
    sampled,
    says,
)

PACKAGE = Path(__file__).parents[1] / "dynamicrag_cli"
PROMPTS = default_prompts()
SFT = CloningOptions(dev_share=0.0, dpo_share=0.0)
ALL_TERMS = {"em": 0.2, "bertscore": 0.2, "rouge": 0.2, "length": 0.2, "judge": 0.2}


def draw(records, policy, reader, n=1):
    return sample(records, policy, reader, PROMPTS, PROMPTS, SamplingOptions(n=n, temperature=1.0))


def test_defect_01_a_cloning_target_has_one_order_one_length_and_no_padding():
    record = labelled([0.9, 0.1, 0.95, 0.2, 0.85], gold_passage_ids=["a"])
    assert threshold_target(record, 0.8, 15) == (2, 0, 4)
    assert evidence_target(record, None, 15) == (2, 0)
    (emission,) = build_bc([record], evidence_target, PROMPTS, SFT)
    assert [len(examples) for examples in emission.files.values()] == [1, 1]
    assert len(parse_selection(emission.files[RERANKER_FILE][0].assistant, 5).positions) == 2


def test_defect_02_the_teacher_keeps_its_scores():
    class Teacher:
        def relevance(self, pairs):
            return [0.31, 0.94]

    (record,) = label_with_teacher([retrieved("ab")], Teacher(), "monot5", "t5", 0.8)
    assert record.relevance.scores == [0.31, 0.94]
    assert threshold_target(record, None, 15) == (1,)


def test_defect_03_the_length_reward_follows_the_passages_of_the_rollout():
    (made,) = reward([sampled([rollout(""), rollout("a"), rollout("abc")])], {"length": 1.0}, {})
    assert [found.total for found in made.rewards] == [1.0, 0.5, 0.25]


def test_defect_04_the_grade_of_the_judge_becomes_a_number_between_0_and_1():
    record = sampled([rollout("a", "good"), rollout("b", "bad"), rollout("c", "odd")])
    replies = {"good": "80", "bad": "Score: 0", "odd": "What a question!"}
    engine = ScriptedEngine(
        lambda request, _: next(reply for answer, reply in replies.items() if f": {answer}\n" in request.chat.user)
    )
    (made,) = reward([record], {"em": 0.5, "judge": 0.5}, {"judge": Judge(engine, PROMPTS)})
    assert [found.terms["judge"] for found in made.rewards] == [0.8, 0.0, None]
    assert [found.total for found in made.rewards] == [0.4, 0.0, None]


def test_defect_05_a_failed_term_is_no_zero_and_the_best_gold_answer_counts():
    record = sampled([rollout("a")], answers=["Ulm", GOLD])
    (made,) = reward([record], ALL_TERMS, {"bertscore": lambda jobs: [None], "judge": lambda jobs: [0.5]})
    wanted = {"em": 1.0, "rouge": 1.0, "length": 0.5, "bertscore": None, "judge": 0.5}
    assert made.rewards[0].terms.items() >= wanted.items()
    assert made.rewards[0].total is None


def test_defect_06_no_stage_stops_in_a_debugger():
    calls = {
        (file.name, node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", ""))
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert len(calls) > 100
    assert not {call for call in calls if call[1] in {"breakpoint", "set_trace"}}


def test_defect_06_a_stage_reads_the_lines_that_the_one_before_writes():
    (drawn,) = draw([retrieved()], says("[1]", "None"), says(GOLD), n=2)
    line = msgspec.json.encode(drawn)
    assert b"\n" not in line
    (paid,) = reward([msgspec.json.decode(line, type=SampledQuestion)], {"em": 0.5, "length": 0.5}, {})
    again = msgspec.json.decode(msgspec.json.encode(paid), type=RewardedQuestion)
    (emission,) = build_dpo([again], PROMPTS, PairOptions())
    assert emission.files["reranker_dpo"][0].chosen == "None"


@pytest.mark.parametrize(
    "drifted",
    [
        {"ctxs": [{"id": "a", "title": "t", "text": "x"}], "answers": [GOLD], "question": "Why?"},
        {"docs": [{"id": "a", "title": "t", "text": "x"}], "answer": GOLD, "query": "Why?"},
        {"contexts": [{"docid": "a", "title": "t", "contents": "x"}], "golden_answers": [GOLD], "question": "Why?"},
    ],
)
def test_defect_07_field_names_drift_no_further_than_the_door(drifted):
    record, strange = admit({"id": "1", **drifted}, RetrievedQuestion)
    assert strange == []
    assert list(msgspec.to_builtins(record)) == ["id", "question", "answers", "dataset", "docs"]


def test_defect_08_training_and_inference_share_prompts_and_the_system_turn_is_its_own():
    source = labelled([0.9], dataset="nq")
    (emission,) = build_bc([source], threshold_target, PROMPTS, SFT)
    examples = [emission.files[RERANKER_FILE][0], emission.files[GENERATOR_FILE][0]]
    policy, reader = says("[1]"), says(GOLD)
    infer([source], parse_selector("llm"), policy, reader, PROMPTS, PROMPTS, SamplingOptions())
    assert [(e.system, e.user) for e in examples] == [(r.chat.system, r.chat.user) for r in (*policy.requests, *reader.requests)]
    (pairs,) = build_dpo(
        [rewarded([rollout("a"), rollout("", "Ulm")], [1.0, 0.0], docs=source.docs, dataset="nq")], PROMPTS, PairOptions()
    )
    for example, (pair,) in zip(examples, pairs.files.values(), strict=True):
        assert (pair.system, pair.user) == (example.system, example.user)
        assert pair.system not in pair.user


def test_defect_09_identifiers_are_unique_and_in_range_and_no_question_is_dropped():
    assert parse_selection("[0]", 3) == Selection((), "out_of_range")
    assert parse_selection("[2], [9], [1]", 3) == Selection((1, 0), "out_of_range")
    assert parse_selection("[2], [2], [1]", 3) == Selection((1, 0), "duplicate")
    gold = {name: question(id=name) for name in ("good", "bad")}
    report, rows = evaluate(
        [prediction(rollout("a"), id="good"), prediction(rollout("a", status="out_of_range"), id="bad")], gold, "s"
    )
    assert len(rows) == 2
    assert report["scores"]["em"]["mean"] == report["malformed_share"] == 0.5


def test_defect_10_metrics_compare_words_in_the_right_direction():
    assert contains("", [GOLD]) == exact_match("", [GOLD]) == 0.0
    assert contains(f"The Danube rises at {GOLD}.", [GOLD]) == 1.0
    assert contains("Donau", [GOLD]) == 0.0
    assert token_f1("the Black Forest", ["Black Forest"]) == 1.0
    assert token_f1("ab", ["ba"]) == 0.0
    fever = task_of("fever").labels
    assert label_accuracy("Surely not", ["SUPPORTS"], fever) == 0.0
    assert label_accuracy("The claim is refuted", ["REFUTES"], fever) == 1.0


def test_defect_12_every_question_may_pair_for_both_roles_and_no_answer_leaks():
    both = rewarded([rollout("a"), rollout("b", "Vienna")], [1.0, 0.0])
    only_right = rewarded([rollout("a"), rollout("b")], [1.0, 0.0], id="q-2")
    other = rewarded([rollout("a"), rollout("b", "Ulm")], [1.0, 0.0], id="q-3")
    made = build_dpo([both, only_right, other], PROMPTS, PairOptions())
    assert [sorted(emission.files) for emission in made] == [
        ["generator_dpo", "reranker_dpo"],
        ["reranker_dpo"],
        ["generator_dpo", "reranker_dpo"],
    ]
    assert [emission.files["generator_dpo"][0].rejected for emission in (made[0], made[2])] == ["Vienna", "Ulm"]


def test_defect_13_the_data_set_is_a_field_and_never_a_guess():
    record, _ = admit({"id": "research/arc/fever-1", "question": "Why?", "meta": {"path": "asqa.jsonl"}}, Question)
    assert record.dataset == "qa"
    with pytest.raises(UsageError, match="unknown dataset"):
        task_of("research")


def test_defect_14_orders_are_seeded_by_the_question():
    records = [labelled([0.9, 0.8, 0.1, 0.2, 0.3], id=str(number)) for number in range(4)]
    once = build_bc(records, threshold_target, PROMPTS, SFT)
    build_bc(records[:1], threshold_target, PROMPTS, SFT)
    assert build_bc(records, threshold_target, PROMPTS, SFT) == once
    assert build_bc(records[2:], threshold_target, PROMPTS, SFT) == once[2:]


def test_defect_15_all_prompts_go_to_the_engine_at_once_and_one_gpu_is_enough():
    policy, reader = says("[1]", "[2]"), ScriptedEngine(lambda *_: Completion(GOLD, "stop"))
    draw([retrieved(id=str(number)) for number in range(20)], policy, reader, n=2)
    assert ([len(call) for call in policy.calls], [len(call) for call in reader.calls]) == ([20], [40])
    assert EngineSettings().gpus == 1


def test_defect_16_rendered_turns_have_no_stray_blank_lines():
    record = retrieved("abc")
    for chat in (
        PROMPTS.reranker(record.question, record.docs),
        PROMPTS.generator(record, record.docs),
        PROMPTS.generator(record, []),
    ):
        for message in chat.messages():
            assert message["content"] == message["content"].strip()
            assert "\n\n\n" not in message["content"]
