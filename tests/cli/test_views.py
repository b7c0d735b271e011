"""Records as people read them: everything that is in a record is in its view."""

import json
from pathlib import Path

import msgspec
import pytest

from dynamicrag_cli.cli.console import show_data
from dynamicrag_cli.cli.views import record_view
from dynamicrag_cli.core import records as r
from tests.builders import GOLD, QUESTION, labelled, prediction, question, retrieved, rewarded, rollout, sampled

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "records").glob("*.jsonl"))


@pytest.fixture
def view(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """The rows of a record's view, white space as single spaces."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")

    def rows(record: r.Record, line: int = 7) -> list[str]:
        show_data(record_view(record, line))
        return [" ".join(row.split()) for row in capsys.readouterr().out.splitlines() if row.split()]

    return rows


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    return [leaf for part in value for leaf in _leaves(part)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_every_text_and_number_of_a_golden_record_is_shown(view, file: Path) -> None:
    content = file.read_bytes().splitlines()[0]
    shown = "\n".join(view(msgspec.json.decode(content, type=r.KINDS[file.stem])))
    raw = json.loads(content)
    for part in raw.get("rollouts", []):
        # Tables of rollouts show the selection, not the reply or the tokens that were read.
        part.pop("raw", None), part.pop("n_reader_tokens", None)
    hidden = [leaf for leaf in _leaves(raw) if leaf is not None and (leaf if isinstance(leaf, str) else f"{leaf:g}") not in shown]
    assert hidden == []
    assert f"{file.stem} {raw['id'] or ''}".strip() in shown
    assert "(line 7)" in shown


def test_a_question_with_its_answers_and_gold(view) -> None:
    rows = view(question(answers=["Ulm", "Linz"], split="dev", gold_passage_ids=["a"], meta={"topic": "rivers"}))
    assert rows == [
        "Question q-1 (line 7)",
        f"question {QUESTION}",
        "answers Ulm | Linz",
        "dataset qa, split dev",
        "gold a",
        'meta {"topic":"rivers"}',
    ]
    assert "gold no passage is needed" in view(question(gold_passage_ids=[]))
    assert not [row for row in view(question()) if row.startswith("gold")]
    assert "answers (none)" in view(question(answers=[]))


def test_candidates_stand_in_order_with_scores_and_a_mark_for_gold(view) -> None:
    docs = [
        r.Candidate(id=name, title=f"T{name}", text=f"Text {name}.", score=score) for name, score in (("b", 4.25), ("a", None))
    ]
    rows = view(retrieved(docs=docs, gold_passage_ids=["a", "z"]))
    assert "gold a, z (no candidate)" in rows
    assert rows[rows.index("gold candidate score") + 2 :] == ["[1] b Tb 4.25", "Text b.", "[2] gold a Ta -", "Text a."]
    assert "no candidates" in view(retrieved(docs=[]))


def test_relevance_stands_beside_its_candidate(view) -> None:
    rows = view(labelled([0.25, 0.75], threshold=0.5))
    assert "relevance by scripted, threshold 0.5" in rows
    assert [row for row in rows if row.startswith("[")] == ["[1] a Title a - 0.25", "[2] b Title b - 0.75"]


def test_a_long_text_is_shortened_even_without_spaces(view) -> None:
    text = "河" * 2000
    shown = "".join(view(retrieved(docs=[r.Candidate(id="a", title="", text=text)])))
    assert 200 < shown.count("河") < 300
    assert "…" in shown
    # A passage on its own is shown whole.
    assert "".join(view(r.Passage(id="a", title="", text=text))).count("河") == 2000


def test_what_a_prediction_chose_and_answered(view) -> None:
    rows = view(prediction(rollout("ca", raw="[3], [1]", n_reader_tokens=61, stop_probs=[0.01, 0.25, 0.9])))
    assert [row for row in rows if row.startswith("[")] == [
        "[1] 2. a Title a -",
        "[2] b Title b -",
        "[3] 1. c Title c -",
        "[4] d Title d -",
    ]
    expected = ["selector llm", "chosen [3], [1]", "reply [3], [1]", f"answer {GOLD}", "read 61 tokens"]
    expected.append("P(stop) None: 0.010, after 1: 0.250, after 2: 0.900")
    assert [row for row in expected if row not in rows] == []
    assert [row for row in rows if row.startswith("status ok (")] != []


def test_what_did_not_fit_is_told(view) -> None:
    made = rollout("ab", n_unseen=2, n_unread=1, cut=True)
    assert "left out 2 unseen, 1 unread, cut" in view(prediction(made))
    assert "1 [1], [2] (ok, 2 unseen, 1 unread, cut)" in view(sampled([made]))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (rollout("", status="none"), ["chosen None", f"answer {GOLD}"]),
        (rollout("", status="failed", answer=None, error="no memory"), ["chosen -", "answer (none)", "error no memory"]),
        (rollout("", status="odd", answer=""), ["status odd (unknown)", "answer"]),
    ],
)
def test_what_was_not_chosen_or_not_answered(view, made: r.Rollout, expected: list[str]) -> None:
    rows = view(prediction(made))
    assert [row for row in expected if row not in rows] == []


def test_rollouts_with_their_rewards(view) -> None:
    rollouts = [rollout("ab"), rollout("b", answer="Ulm"), rollout("", status="failed", answer=None, error="no memory")]
    rows = view(rewarded(rollouts, [0.875, 0.25, None]))
    assert rows[rows.index("selection, status, answer em total") + 2 :] == [
        "1 [1], [2] (ok) 0.875 0.875",
        GOLD,
        "2 [2] (ok) 0.25 0.25",
        "Ulm",
        "3 - (failed) - -",
        "(none) no memory",
    ]
    assert "[2] 2 of 3 b Title b -" in rows
    assert "[3] c Title c -" in rows
    without = view(sampled(rollouts))
    assert "selection, status, answer" in without
    assert "1 [1], [2] (ok)" in without


def test_the_turns_of_examples_and_pairs(view) -> None:
    pair = r.PreferencePair(id="a", role="reranker", system="S", user="U\nV", chosen="[1]", rejected="None", margin=0.5)
    rows = view(pair)
    words = ["role reranker", "margin 0.5", "│ S │", "│ U │", "│ V │", "│ [1] │", "│ None │"]
    assert [rows.index(word) for word in words] == sorted(rows.index(word) for word in words)
    assert [row.split()[1] for row in rows if row.startswith("╭")] == ["system", "user", "chosen", "rejected"]
    example = view(r.ChatExample(id="a", role="generator", lesson=2, system="S", user="U", assistant="A"))
    assert "lesson 2" in example
    assert [row.split()[1] for row in example if row.startswith("╭")] == ["system", "user", "assistant"]


@pytest.mark.parametrize("width", [20, 80, 200])
def test_nothing_is_cropped_however_narrow_the_terminal(view, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    name = "p-" + "x" * 150
    record = retrieved(docs=[r.Candidate(id=name, title="", text="word " * 30, score=1234.5)], gold_passage_ids=[name])
    shown = "".join(view(record))
    assert shown.count("x") == 300
    assert shown.count("word") == 30
    assert "1234" in shown
