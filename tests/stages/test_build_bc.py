import re
from collections import Counter
from dataclasses import replace

import pytest

from dynamicrag_cli.core.curriculum import parse_curriculum
from dynamicrag_cli.core.identifiers import parse_selection
from dynamicrag_cli.core.records import ChatExample
from dynamicrag_cli.core.targets import TARGETS
from dynamicrag_cli.stages.build_bc import GENERATOR_FILE, POOL_FILE, RERANKER_FILE, CloningOptions, build_bc, plan_of
from dynamicrag_cli.stages.outcome import Emission
from tests.builders import GOLD, QUESTION, default_prompts, doc, docs, labelled

SFT = CloningOptions(dev_share=0.0, dpo_share=0.0)
SCORES = [0.2, 0.9, 0.6, 0.95, 0.1]


def build(records, options=SFT, target="threshold"):
    return build_bc(records, TARGETS[target], default_prompts(), options)


def shown_ids(example, record, among=None):
    """Passage ids in the order in which the prompt shows them."""
    return sorted(among or (doc.id for doc in record.docs), key=lambda name: example.user.index(f"Title {name}: "))


def taught_ids(example, record, among=None):
    shown = shown_ids(example, record, among)
    parsed = parse_selection(example.assistant, len(shown))
    assert parsed.status in {"ok", "none"}
    return [shown[position] for position in parsed.positions]


def test_one_example_for_each_role():
    record = labelled(SCORES)
    (emission,) = build([record])
    assert emission.note == "SFT part, target of 3"
    assert set(emission.files) == {RERANKER_FILE, GENERATOR_FILE}
    (reranker,), (generator,) = emission.files[RERANKER_FILE], emission.files[GENERATOR_FILE]
    assert (reranker.id, reranker.role) == ("q-1#0", "reranker")
    assert taught_ids(reranker, record) == ["d", "b", "c"]
    assert (generator.id, generator.role, generator.assistant) == ("q-1", "generator", GOLD)
    for number, name in enumerate("dbc", start=1):
        assert f"Title {name}: Text of {name}. [{number}]" in generator.user
    assert "Title a" not in generator.user


def test_copies_differ_in_order_and_teach_the_same_passages():
    record = labelled(SCORES)
    (emission,) = build([record], CloningOptions(copies=6, dev_share=0.0, dpo_share=0.0))
    examples = emission.files[RERANKER_FILE]
    assert [example.id for example in examples] == [f"q-1#{copy}" for copy in range(6)]
    assert [taught_ids(example, record) for example in examples] == [["d", "b", "c"]] * 6
    assert len({tuple(shown_ids(example, record)) for example in examples}) > 1
    assert len(emission.files[GENERATOR_FILE]) == 1


def test_a_curriculum_shows_the_target_and_some_others():
    record = labelled(SCORES)
    options = CloningOptions(threshold=0.92, copies=4, curriculum=parse_curriculum("2:1"), dev_share=0.0, dpo_share=0.0)
    (emission,) = build([record], options)
    examples = emission.files[RERANKER_FILE]
    shown = [[doc.id for doc in record.docs if f"Title {doc.id}: " in example.user] for example in examples]
    assert all(len(ids) == 2 and "d" in ids for ids in shown)
    assert [taught_ids(example, record, shown) for example, shown in zip(examples, shown, strict=True)] == [["d"]] * 4
    assert [example.assistant for example in examples[:2]] in (["[1]", "[2]"], ["[2]", "[1]"])
    assert shown[0] == shown[1]
    assert {example.lesson for example in examples} == {0}
    assert shown[2] == shown[3] != shown[0], "the others take turns"


def test_a_long_target_is_shown_with_one_other():
    options = CloningOptions(curriculum=parse_curriculum("2:1"), dev_share=0.0, dpo_share=0.0)
    (emission,) = build([labelled(SCORES)], options)
    assert emission.files[RERANKER_FILE][0].user.count("Title ") == 4


def test_questions_beyond_the_curriculum_show_everything_and_come_last():
    records = [labelled(SCORES, id=str(number)) for number in range(80)]
    options = CloningOptions(threshold=0.92, curriculum=parse_curriculum("2:0.3 3:0.3"), dev_share=0.0, dpo_share=0.0)
    made = [emission.files for emission in build(records, options)]
    sizes = Counter((files[RERANKER_FILE][0].lesson, files[RERANKER_FILE][0].user.count("Title ")) for files in made)
    assert set(sizes) == {(0, 2), (1, 3), (2, 5)}
    assert min(sizes.values()) > 10
    assert all(files[GENERATOR_FILE][0].lesson == files[RERANKER_FILE][0].lesson for files in made)


def test_every_candidate_is_shown_once():
    record = labelled(SCORES)
    (emission,) = build([record])
    assert sorted(shown_ids(emission.files[RERANKER_FILE][0], record)) == list("abcde")
    assert emission.files[RERANKER_FILE][0].user.count("Title ") == 5


def test_position_of_the_best_passage_varies_with_the_question():
    records = [labelled(SCORES, id=str(number)) for number in range(60)]
    firsts = Counter(emission.files[RERANKER_FILE][0].assistant.split(",")[0] for emission in build(records))
    assert set(firsts) == {f"[{place}]" for place in range(1, 6)}


def test_question_without_a_needed_passage_is_taught_none():
    (emission,) = build([labelled(SCORES, gold_passage_ids=[])], target="evidence")
    assert emission.note == "SFT part, target None"
    assert emission.files[RERANKER_FILE][0].assistant == "None"
    assert "[1]" not in emission.files[GENERATOR_FILE][0].user


def test_options_reach_the_target():
    record = labelled(SCORES)
    (emission,) = build([record], CloningOptions(threshold=0.92, dev_share=0.0, dpo_share=0.0))
    assert taught_ids(emission.files[RERANKER_FILE][0], record) == ["d"]
    (emission,) = build([record], CloningOptions(max_passages=2, dev_share=0.0, dpo_share=0.0))
    assert taught_ids(emission.files[RERANKER_FILE][0], record) == ["d", "b"]


def test_dpo_part_is_passed_on_unchanged_and_trains_nothing():
    record = labelled(SCORES)
    assert build([record], CloningOptions(dev_share=0.0, dpo_share=1.0)) == [Emission("DPO part", {POOL_FILE: [record]})]


@pytest.mark.parametrize(
    ("record", "options"),
    [
        (labelled(SCORES, split="dev"), SFT),
        (labelled(SCORES), CloningOptions(dev_share=1.0)),
        (labelled(SCORES, split="test"), SFT),
    ],
)
def test_dev_question_trains_nothing(record, options):
    assert build([record], options) == [Emission("not in the training split")]


def test_question_without_evidence_gives_no_example():
    (emission,) = build([labelled(SCORES, answers=["yes"])], target="evidence")
    assert emission.files == {}
    assert emission.note.startswith("no target")


def test_question_without_candidates_is_rejected_in_place():
    first, second = build([labelled([]), labelled(SCORES, id="q-2")])
    assert isinstance(first, ValueError)
    assert "no candidates" in str(first)
    assert second.note == "SFT part, target of 3"


def test_question_without_answers_trains_the_reranker_alone():
    (emission,) = build([labelled(SCORES, answers=[])])
    assert set(emission.files) == {RERANKER_FILE}


def test_question_is_in_one_file_set_only():
    records = [labelled(SCORES, id=str(number), question=f"What is {number}?") for number in range(60)]
    notes = Counter(emission.note for emission in build(records, CloningOptions()))
    assert set(notes) == {"SFT part, target of 3", "DPO part", "not in the training split"}
    assert sum(notes.values()) == 60


def test_seed_decides_the_order_and_nothing_else_does():
    records = [labelled(SCORES, id=str(number)) for number in range(5)]
    whole = build(records)
    assert whole == [build([record])[0] for record in records]
    assert build(records[::-1])[::-1] == whole
    assert build(records, CloningOptions(dev_share=0.0, dpo_share=0.0, seed=1)) != whole


def test_seed_decides_the_parts():
    records = [labelled(SCORES, id=str(number), question=f"What is {number}?") for number in range(30)]
    halves = [CloningOptions(dev_share=0.0, dpo_share=0.5, seed=seed) for seed in (0, 1)]
    first, second = ([emission.note for emission in build(records, options)] for options in halves)
    assert set(first) == set(second) == {"SFT part, target of 3", "DPO part"}
    assert first != second


def test_control_tokens_of_the_tokenizer_are_neutralised():
    record = labelled([0.9], question=f"{QUESTION} <tool>", docs=docs("a"))
    (emission,) = build_bc([record], TARGETS["threshold"], default_prompts(frozenset({"<tool>"})), SFT)
    examples: list[ChatExample] = [example for made in emission.files.values() for example in made]
    assert len(examples) == 2
    assert all("<tool>" not in example.user and "< tool>" in example.user for example in examples)


def shown_to_the_reader(emission):
    (example,) = emission.files[GENERATOR_FILE]
    return re.findall(r"Title (\w): ", example.user)


def test_noise_stands_between_the_chosen_passages_and_is_no_evidence():
    candidates = [doc(name, f"It begins at {GOLD}." if name == "e" else None) for name in "abcdef"]
    record = labelled([0.9, 0.8, 0.1, 0.2, 0.3, 0.4], docs=candidates, gold_passage_ids=["a", "b", "f"])
    options = CloningOptions(threshold=0.7, dev_share=0.0, dpo_share=0.0, noise=5)
    orders = set()
    for seed in range(20):
        (emission,) = build([record], replace(options, seed=seed))
        shown = shown_to_the_reader(emission)
        assert sorted(shown) == list("abcd"), "f is gold and e holds the answer"
        assert [name for name in shown if name in "ab"] == ["a", "b"]
        orders.add(tuple(shown))
    assert len(orders) > 5
    assert shown_to_the_reader(build([record], replace(options, noise=1))[0]) != list("ab")
    assert build([record], options) == build([record], options)


@pytest.mark.parametrize(
    ("gold", "closed_book", "taught"),
    [(None, False, False), (["missed"], False, False), ([], False, True), (["missed"], True, True)],
)
def test_an_answer_without_passages_is_taught_only_where_none_is_needed(gold, closed_book, taught):
    options = CloningOptions(threshold=1.0, dev_share=0.0, dpo_share=0.0, closed_book=closed_book)
    (emission,) = build([labelled(SCORES, gold_passage_ids=gold)], options)
    assert (GENERATOR_FILE in emission.files) == taught
    assert emission.files[RERANKER_FILE][0].assistant == "None"


def test_near_duplicates_fall_into_one_part():
    texts = [f"Where does the long river number {number} of the old country rise" for number in range(40)]
    asked = [(f"{number}{mark}", text + mark, "train") for number, text in enumerate(texts) for mark in ("", " today")]
    plan = plan_of(asked, [], 0.8)
    assert plan.left_out == {}
    assert len({*plan.groups.values()}) == 40
    records = [labelled(SCORES, id=name, question=text, split="train") for name, text, _ in asked]
    options = CloningOptions(dpo_share=0.5)
    notes = [emission.note for emission in build_bc(records, TARGETS["threshold"], default_prompts(), options, plan)]
    assert notes[::2] == notes[1::2]
    assert len({*notes}) == 2


def test_what_is_near_to_an_evaluation_question_trains_nothing():
    asked = [
        ("same", "Where does the river Danube rise?", "train"),
        ("dev", "where does river Danube rise", "dev"),
        ("foreign", "Who was the first king of all Bavaria?", "train"),
        ("free", "What is baked in Ulm?", "train"),
    ]
    plan = plan_of(asked, ["Who was the first king of all Bavaria"], 0.8)
    assert plan.left_out == {
        "same": "near-duplicate of a held-out question",
        "foreign": "near-duplicate of a question of --against",
    }
    records = [labelled(SCORES, id=name, question=text, split=split) for name, text, split in asked]
    made = build_bc(records, TARGETS["threshold"], default_prompts(), CloningOptions(dpo_share=0.0), plan)
    assert [bool(emission.files) for emission in made] == [False, False, False, True]
    assert made[0].note == "near-duplicate of a held-out question"


def test_target_that_cannot_be_found_is_a_reject():
    def failing(_record, _threshold, _cap):
        raise ValueError("the reader failed: no memory")

    (outcome,) = build_bc([labelled(SCORES)], failing, default_prompts(), SFT)
    assert isinstance(outcome, ValueError)
