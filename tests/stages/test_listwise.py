import re

from dynamicrag_cli.core.engine import Completion
from dynamicrag_cli.core.records import Relevance
from dynamicrag_cli.stages.listwise import ListwiseOptions, label_listwise
from tests.builders import ScriptedEngine, default_prompts, failing, retrieved, says

SMALL = ListwiseOptions(window=4, stride=2)


def by_letter(request, _sample):
    """Ranks the passages of a window from the last letter of the alphabet to the first."""
    shown = re.findall(r"Title (\w): .*?\[(\d+)\]", request.chat.user)
    return " > ".join(f"[{number}]" for _, number in sorted(shown, reverse=True))


def label(records, engine, options=SMALL):
    return label_listwise(records, engine, default_prompts(), options, "models/x")


def order_of(record):
    ranked = sorted(zip(record.relevance.scores, record.docs, strict=True), key=lambda pair: -pair[0])
    return "".join(doc.id for _, doc in ranked)


def test_best_passage_rises_from_the_end_to_the_start():
    (made,) = label([retrieved("abcdefg")], ScriptedEngine(by_letter))
    # By hand: defg -> abc[gfed], bcgf -> a[gfcb]ed, agf -> [gfa]cbed.
    assert order_of(made) == "gfacbed"
    assert max(made.relevance.scores) == 1.0
    assert made.relevance == Relevance(
        teacher="listwise", model="models/x", scores=made.relevance.scores, threshold=None, n_calls=3, n_malformed=0
    )


def test_windows_of_all_questions_go_to_the_engine_together():
    engine = ScriptedEngine(by_letter)
    made = label([retrieved("abcdef"), retrieved("ab", id="q-2"), retrieved("a", id="q-3"), retrieved("", id="q-4")], engine)
    assert [[request.key for request in call] for call in engine.calls] == [["rank:q-1:0", "rank:q-2:0"], ["rank:q-1:1"]]
    assert [record.relevance.scores for record in made[1:]] == [[0.5, 1.0], [1.0], []]
    assert [record.relevance.n_calls for record in made] == [2, 1, 0, 0]


def test_malformed_reply_is_repaired_and_counted():
    (made,) = label([retrieved("abcd")], says("[3], [3]"))
    assert order_of(made) == "cabd"
    assert (made.relevance.n_calls, made.relevance.n_malformed) == (1, 1)


def test_reply_that_was_cut_counts_as_malformed():
    (made,) = label([retrieved("ab")], says(Completion("[2] > [1]", "length")))
    assert made.relevance.n_malformed == 1


def test_failed_call_is_no_ranking():
    made = label([retrieved("abcdef")], failing())
    assert [str(outcome) for outcome in made] == ["the engine failed: no memory"]


def test_ranking_in_which_no_reply_has_a_part_is_none():
    (made,) = label([retrieved("abcdef")], says("I cannot tell."))
    assert str(made) == "none of the 2 replies ranks a passage; is the model a listwise ranker?"
    (made,) = label([retrieved("abcdef")], ScriptedEngine(lambda request, _n: "[2]" if request.key.endswith(":1") else "Sorry."))
    assert (order_of(made), made.relevance.n_malformed) == ("bacdef", 2)


def test_passages_that_do_not_fit_keep_their_place_at_the_end_of_the_window():
    whole = ScriptedEngine(by_letter)
    label([retrieved("abcd")], whole)
    words = len(whole.requests[0].chat.user.split()) + 4 * 6
    (made,) = label([retrieved("abcd")], ScriptedEngine(by_letter, context=words - 1))
    assert order_of(made) == "cbad"


def test_threshold_is_handed_on():
    (made,) = label([retrieved("ab")], ScriptedEngine(by_letter), ListwiseOptions(threshold=0.5))
    assert made.relevance.threshold == 0.5
