import pytest

from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Reward
from dynamicrag_cli.stages.build_dpo import GENERATOR_FILE, RERANKER_FILE, PairOptions, build_dpo
from tests.builders import GOLD, default_prompts, doc, rewarded, rollout

OPTIONS = PairOptions()


def build(*records, options=OPTIONS):
    return build_dpo(records, default_prompts(), options)


def pairs(record, options=OPTIONS):
    (emission,) = build(record, options=options)
    return emission.files.get(RERANKER_FILE, [None])[0], emission.files.get(GENERATOR_FILE, [None])[0], emission.note


def test_pair_for_each_role():
    record = rewarded([rollout("b"), rollout("ca", "Vienna"), rollout("", "Ulm")], [0.9, 0.1, 0.5])
    reranker, generator, note = pairs(record)
    assert (reranker.id, reranker.role, reranker.chosen, reranker.rejected) == ("q-1", "reranker", "[2]", "[3], [1]")
    assert reranker.margin == pytest.approx(0.8)
    assert (generator.id, generator.role, generator.chosen, generator.rejected) == ("q-1", "generator", GOLD, "Vienna")
    assert generator.margin == 1.0
    assert "Title b: Text of b. [1]" in generator.user
    assert "Title c" not in generator.user
    assert note == "reranker: kept (fewer passages on the chosen side); generator: kept"


def test_choosing_no_passage_can_win():
    reranker, generator, _ = pairs(rewarded([rollout(""), rollout("a", "Vienna")], [0.9, 0.1]))
    assert (reranker.chosen, reranker.rejected) == ("None", "[1]")
    assert "Title" not in generator.user


def test_wrong_best_answer_gives_way_to_the_gold_one():
    record = rewarded([rollout("a", "Passau"), rollout("b", "Vienna")], [0.4, 0.2], gold_passage_ids=["a"])
    _, generator, _ = pairs(record)
    assert (generator.chosen, generator.rejected) == (GOLD, "Vienna")


@pytest.mark.parametrize(
    ("read", "fields", "kept"),
    [
        ("", {"gold_passage_ids": ["a"]}, False),
        ("b", {"gold_passage_ids": ["a"]}, False),
        ("ba", {"gold_passage_ids": ["a"]}, True),
        ("b", {}, False),
        ("b", {"docs": [doc("a"), doc("b", f"It rises at {GOLD}.")], "gold_passage_ids": ["missed"]}, True),
        ("", {"gold_passage_ids": []}, True),
        ("b", {"answers": ["yes"]}, True),
    ],
)
def test_the_gold_answer_is_taught_from_passages_that_hold_evidence(read, fields, kept):
    _, generator, note = pairs(rewarded([rollout(read, "Passau"), rollout("a", "Vienna")], [0.4, 0.2], **fields))
    assert bool(generator) == kept
    assert note.endswith("generator: kept" if kept else "generator: the passages do not hold the gold answer")


def test_a_long_answer_is_what_the_generator_is_taught():
    """As in cloning: ASQA has its answers in `long_answers` and in the readings."""
    meta = {"long_answers": ["It rises at Donaueschingen and Furtwangen."], "qa_pairs": [{"short_answers": ["Donaueschingen"]}]}
    rollouts = [rollout("a", "Passau"), rollout("b", "Vienna")]
    _, generator, note = pairs(
        rewarded(rollouts, [0.4, 0.2], dataset="asqa", answers=[], gold_passage_ids=["a"], meta=meta),
    )
    assert generator, note
    assert generator.chosen == meta["long_answers"][0]


@pytest.mark.parametrize(
    ("rollouts", "totals", "note"),
    [
        ([rollout("a"), rollout("b")], [0.5, 0.45], "reranker: margin too small; generator: no wrong answer"),
        ([rollout("a"), rollout("a")], [0.5, 0.5], "reranker: all selections equal; generator: no wrong answer"),
        ([rollout("a"), rollout("b")], [None, None], "reranker: no usable rollout; generator: no usable rollout"),
        ([rollout("a", status="extra_text")], [0.5], "reranker: no usable rollout; generator: no usable rollout"),
        ([rollout("a"), rollout("b", "x")], [0.5, 0.45], "reranker: margin too small; generator: kept"),
        ([], [], "reranker: no usable rollout; generator: no usable rollout"),
    ],
)
def test_note_says_why_a_pair_is_missing(rollouts, totals, note):
    (emission,) = build(rewarded(rollouts, totals))
    assert emission.note == note
    assert (RERANKER_FILE in emission.files) == note.startswith("reranker: kept")
    assert (GENERATOR_FILE in emission.files) == note.endswith("generator: kept")


def test_margin_is_a_setting():
    record = rewarded([rollout("a"), rollout("b")], [0.5, 0.45])
    assert pairs(record, PairOptions(min_margin=0.05))[0].margin == pytest.approx(0.05)
    assert pairs(record, PairOptions(min_margin=0.06))[0] is None


def test_new_weights_need_no_new_run():
    terms = [{"em": 1.0, "length": 0.25}, {"em": 0.0, "length": 1.0}]
    rewards = [Reward(total=None, terms=terms[0]), Reward(total=None, terms=terms[1])]
    record = rewarded([rollout("a"), rollout("b", "x")], [0.0, 0.0], rewards=rewards)
    right = pairs(record, PairOptions(weights={"em": 1.0}))[0]
    short = pairs(record, PairOptions(weights={"length": 1.0}))[0]
    assert (right.chosen, right.rejected, right.margin) == ("[1]", "[2]", 1.0)
    assert (short.chosen, short.rejected, short.margin) == ("[2]", "[1]", 0.75)


def test_rollouts_are_compared_over_equal_terms():
    rewards = [Reward(total=0.9, terms={"em": 1.0}), Reward(total=0.1, terms={"em": 0.0, "judge": 0.5})]
    record = rewarded([rollout("a"), rollout("b", "x")], [0.0, 0.0], rewards=rewards)
    assert pairs(record, PairOptions(weights={"em": 0.5, "judge": 0.5}))[0] is None


def test_right_means_the_label_for_label_tasks():
    record = rewarded(
        [rollout("a", "It is supported."), rollout("b", "REFUTES")], [0.9, 0.1], dataset="fever", answers=["SUPPORTS"]
    )
    generator = pairs(record)[1]
    assert (generator.chosen, generator.rejected) == ("It is supported.", "REFUTES")
    assert "SUPPORTS, REFUTES" in generator.system


def test_one_outcome_per_record_in_order():
    first = rewarded([rollout("a"), rollout("b", "x")], [0.9, 0.1])
    second = rewarded([], [], id="q-2")
    assert [emission.files.get(RERANKER_FILE, [None])[0] is None for emission in build(second, first, second)] == [
        True,
        False,
        True,
    ]


def test_equal_sides_make_no_pair():
    record = rewarded([rollout("a", "A"), rollout("b", "B"), rollout("c", "A")], [0.9, 0.5, 0.4], answers=["A"])
    generator = pairs(record)[1]
    assert generator is None or generator.chosen != generator.rejected


def test_chosen_answer_is_never_worse_than_the_rejected_one():
    meta = {"qa_pairs": [{"short_answers": [place]} for place in ("Brigach", "Breg", "Ulm")]}
    rollouts = [rollout("a", "nowhere"), rollout("b", "Breg and Ulm")]
    generator = pairs(rewarded(rollouts, [0.9, 0.1], dataset="asqa", answers=["At the Brigach."], meta=meta))[1]
    assert generator is None or generator.margin > 0


def test_the_prompts_of_pairs_are_those_of_the_rollouts():
    best = rollout("b", n_unseen=1)
    reranker, generator, _ = pairs(rewarded([best, rollout("a", "Vienna", n_unseen=1)], [0.9, 0.1]))
    assert "Title b" in reranker.user
    assert "Title d" not in reranker.user
    _, generator, _ = pairs(rewarded([rollout("ab", n_unread=1), rollout("c", "Vienna")], [0.9, 0.1]))
    assert "Title a" in generator.user
    assert "Title b" not in generator.user


def test_weights_of_a_term_that_was_never_computed_are_an_error():
    record = rewarded([rollout("b"), rollout("a", "Vienna")], [0.9, 0.1])
    with pytest.raises(InputError, match=r"no term 'judge'.*drag reward"):
        build(record, options=PairOptions(weights={"judge": 1.0}))


def test_note_says_whether_the_pair_teaches_to_read_less():
    for best, worst, words in (("a", "bc", "(fewer"), ("bc", "a", "(more"), ("a", "b", "(as many")):
        assert words in pairs(rewarded([rollout(best), rollout(worst)], [0.9, 0.1]))[2]


def test_the_roles_may_have_questions_of_their_own():
    records = [
        rewarded([rollout("b"), rollout("c", "Vienna")], [0.9, 0.1], id=str(number), question=f"What is {number}?")
        for number in range(200)
    ]
    made = build(*records, options=PairOptions(generator_share=0.25))
    assert all(len(emission.files) == 1 for emission in made)
    assert 30 < sum(GENERATOR_FILE in emission.files for emission in made) < 70
    assert {emission.note for emission in made} == {
        "reranker: kept (as many passages on the chosen side); generator: another part",
        "reranker: another part; generator: kept",
    }
    assert made == build(*records, options=PairOptions(generator_share=0.25))
    assert made != build(*records, options=PairOptions(generator_share=0.25, seed=1))
