"""`drag eval`: one JSON document, in which nothing that went wrong is left out of a mean."""

import json
from pathlib import Path

import pytest

from tests.samples import labelled, prediction, question, read, write


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    questions = [question(number) for number in range(10)]
    return write(tmp_path / "gold.jsonl", ({k: v for k, v in q.items() if k != "docs"} for q in questions))


def report(done) -> dict:
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_stdout_is_exactly_one_json_document_and_the_table_is_elsewhere(drag, gold: Path, tmp_path: Path) -> None:
    right = write(tmp_path / "right.jsonl", (prediction(number) for number in range(10)))
    done = drag("eval", right, "--gold", gold)
    made = report(done)
    (system,) = made["systems"]
    assert (system["system"], system["questions"], system["missing"], system["unreadable"]) == ("right", 10, 0, 0)
    assert {name: score["mean"] for name, score in system["scores"].items()} == dict.fromkeys(
        ("selection_f1", "selection_precision", "selection_recall", "em", "f1", "contains", "headline"), 1.0
    )
    assert "10 questions" in done.err


def test_missing_malformed_and_failed_questions_count_as_failures_and_show(drag, gold: Path, tmp_path: Path) -> None:
    records = [prediction(number) for number in range(6)]
    records[0] = prediction(0, status="extra_text")
    records[1] = prediction(1, status="truncated")
    records[2] = prediction(2, answer=None, error="boom")
    records[3] = prediction(3, selection=[], status="none")
    path = write(tmp_path / "some.jsonl", records)
    with path.open("ab") as file:
        file.write(b'{"id":"q-9", nonsense\n')
    (system,) = report(drag("eval", path, "--gold", gold))["systems"]
    assert (system["questions"], system["missing"], system["unreadable"]) == (10, 4, 1)
    assert system["malformed_share"] == pytest.approx(0.2)
    assert system["none_share"] == pytest.approx(0.1)
    assert system["no_answer_share"] == pytest.approx(0.1)
    # q-3 chose nothing but answered right; q-4 and q-5 are right altogether; q-2 chose right.
    assert system["scores"]["em"] == {
        "mean": 0.3,
        "low": pytest.approx(0.0, abs=0.2),
        "high": pytest.approx(0.6, abs=0.2),
        "n": 10,
    }
    assert system["scores"]["selection_f1"]["mean"] == pytest.approx(0.3)


def test_the_table_names_every_system_with_its_failures(drag, gold: Path, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{name}.jsonl", [prediction(1)]) for name in ("untrained", "dpo-both")]
    table = drag("eval", *paths, "--gold", gold).err
    assert all(word in table for word in ("untrained", "dpo-both", "malformed", "no answer", "missing"))


def test_predictions_of_other_questions_are_exit_4(drag, gold: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", [{**prediction(1), "id": "elsewhere"}])
    done = drag("eval", other, "--gold", gold)
    assert (done.code, done.out) == (4, b"")
    assert "none of the 1 predictions belongs to a gold question" in done.err


def test_predictions_outside_the_gold_file_are_counted(drag, gold: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "more.jsonl", [prediction(1), {**prediction(2), "id": "elsewhere"}])
    (system,) = report(drag("eval", path, "--gold", gold))["systems"]
    assert (system["not_in_gold"], system["missing"]) == (1, 9)


def test_a_split_and_per_question_scores(drag, gold: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "right.jsonl", [prediction(0), prediction(3)])
    call = (
        "eval",
        path,
        "--gold",
        gold,
        "--split",
        "dev",
        "--scores",
        tmp_path / "scores.jsonl",
        "-o",
        tmp_path / "new/report.json",
    )
    done = drag(*call)
    assert (done.code, done.out) == (0, b"")
    (system,) = json.loads((tmp_path / "new/report.json").read_text())["systems"]
    assert (system["questions"], system["missing"]) == (4, 2)
    rows = read(tmp_path / "scores.jsonl")
    assert [(row["id"], row["system"], row["scores"]["em"]) for row in rows] == [
        ("q-0", "right", 1.0), ("q-3", "right", 1.0), ("q-6", "right", 0.0), ("q-9", "right", 0.0)
    ]  # fmt: skip


def test_equal_calls_give_equal_reports(drag, gold: Path, tmp_path: Path) -> None:
    records = [prediction(number, **({"answer": "wrong"} if number % 2 else {})) for number in range(10)]
    path = write(tmp_path / "some.jsonl", records)
    first, second = (drag("eval", path, "--gold", gold).out for _ in range(2))
    assert first == second
    interval = json.loads(first)["systems"][0]["scores"]["em"]
    assert interval["low"] < interval["mean"] == 0.5 < interval["high"]


def test_wrong_calls(drag, gold: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "right.jsonl", [prediction(1)])
    empty = write(tmp_path / "empty.jsonl", [])
    (tmp_path / "twin").mkdir()
    twin = write(tmp_path / "twin/right.jsonl", [prediction(1)])
    broken = write(tmp_path / "broken.jsonl", [{"id": "a"}])
    for arguments, code, words in (
        ([path], 2, "--gold"),
        ([path, twin, "--gold", gold], 2, "one name"),
        ([path, "--gold", gold, "--split", "final"], 2, "dev"),
        ([tmp_path / "nowhere.jsonl", "--gold", gold], 4, "no such file"),
        ([path, "--gold", tmp_path / "nowhere.jsonl"], 4, "no such file"),
        ([path, "--gold", empty], 4, "no gold questions"),
        ([empty, "--gold", gold], 4, "no prediction in it can be used"),
        ([path, "--gold", broken], 4, "line 1"),
    ):
        done = drag("eval", *arguments)
        assert (done.code, done.error, done.out) == (code, None, b""), done.err
        assert words in done.err


def test_the_folder_of_the_scores_is_made(drag, gold: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "right.jsonl", [prediction(1)])
    assert drag("eval", path, "--gold", gold, "--scores", tmp_path / "new/scores.jsonl").code == 0


def test_an_output_that_is_a_folder_is_refused(drag, gold: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "right.jsonl", [prediction(1)])
    assert drag("eval", path, "--gold", gold, "-o", tmp_path).code in (2, 4)


def test_a_baseline_is_compared_question_by_question(drag, gold: Path, tmp_path: Path) -> None:
    right = write(tmp_path / "right.jsonl", (prediction(number) for number in range(10)))
    few = write(tmp_path / "few.jsonl", (prediction(n, **({} if n < 2 else {"answer": "wrong"})) for n in range(10)))
    done = drag("eval", right, "--baseline", few, "--gold", gold)
    made = report(done)
    assert [system["system"] for system in made["systems"]] == ["right", "few"]
    (found,) = made["comparisons"]
    assert (found["system"], found["baseline"], found["questions"], found["left_out"]) == ("right", "few", 10, 0)
    among = drag("eval", few, right, "--baseline", few, "--gold", gold)
    assert (among.code, report(among)) == (0, report(done))
    assert found["scores"]["em"]["mean"] == 0.8
    assert found["scores"]["em"]["p_value"] == pytest.approx(2 * 0.5**8)
    assert (found["scores"]["em"]["better"], found["scores"]["em"]["worse"]) == (8, 0)
    assert "right answers better than few" in done.err


def test_other_questions_than_the_baseline_need_common(drag, gold: Path, tmp_path: Path) -> None:
    some = write(tmp_path / "some.jsonl", (prediction(number) for number in range(4)))
    more = write(tmp_path / "more.jsonl", (prediction(number) for number in range(6)))
    done = drag("eval", some, "--baseline", more, "--gold", gold)
    assert (done.code, done.out) == (4, b"")
    assert "Type --common" in done.err
    (found,) = report(drag("eval", some, "--baseline", more, "--gold", gold, "--common"))["comparisons"]
    assert (found["questions"], found["left_out"]) == (4, 2)


def test_seeds_of_one_system_are_one_row(drag, gold: Path, tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", (prediction(number) for number in range(10)))
    two = write(tmp_path / "two.jsonl", (prediction(number, answer="wrong") for number in range(10)))
    done = drag("eval", f"sft={one},{two}", "--gold", gold)
    (system,) = report(done)["systems"]
    assert (system["system"], system["repeats"], system["scores"]["em"]["mean"]) == ("sft", 2, 0.5)
    assert "mean of 2" in done.err


def test_candidates_are_evaluated_as_rankings(drag, gold: Path, tmp_path: Path) -> None:
    pytest.importorskip("ir_measures")
    candidates = write(tmp_path / "candidates.jsonl", (question(number) for number in range(10)))
    for match in ("id", "answer"):
        (system,) = report(drag("eval", candidates, "--gold", gold, "--match", match, "--at", 1, "--at", 2))["systems"]
        assert {name: score["mean"] for name, score in system["scores"].items()} == pytest.approx(
            {"recall@1": 0.0, "recall@2": 1.0, "ndcg@1": 0.0, "ndcg@2": 0.63093, "mrr": 0.5}, abs=1e-5
        )
    done = drag("eval", candidates, "--gold", gold, "--match", "title")
    assert (done.code, "type --match id or --match answer" in done.err) == (4, True)


def test_every_way_of_finding_is_a_row(drag, tmp_path: Path) -> None:
    pytest.importorskip("ir_measures")
    asked = [question(number, meta={"gold_titles": ["Nowhere"]}) for number in range(4)]
    gold, found = write(tmp_path / "gold.jsonl", asked), write(tmp_path / "bm25.jsonl", asked)
    call = ("eval", found, "--gold", gold, "--match", "id", "--match", "title", "--match", "answer", "--at", 2)
    done = drag(*call, "--scores", tmp_path / "scores.jsonl")
    rows = [(system["system"], system["match"], system["scores"]["recall@2"]["mean"]) for system in report(done)["systems"]]
    assert rows == [("bm25 (id)", "id", 1.0), ("bm25 (title)", "title", 0.0), ("bm25 (answer)", "answer", 1.0)]
    assert "by gold id, or by gold title, or a passage that holds an answer" in done.err
    assert {row["system"] for row in read(tmp_path / "scores.jsonl")} == {row[0] for row in rows}


def test_candidates_in_the_order_of_a_teacher(drag, gold: Path, tmp_path: Path) -> None:
    pytest.importorskip("ir_measures")
    made = write(tmp_path / "labelled.jsonl", (labelled(number) for number in range(10)))
    (system,) = report(drag("eval", made, "--gold", gold, "--by-relevance", "--at", 1))["systems"]
    assert system["scores"]["ndcg@1"]["mean"] == 1.0
    done = drag("eval", write(tmp_path / "bare.jsonl", [question(1)]), "--gold", gold, "--by-relevance")
    assert (done.code, "has no relevance, which drag rerank-teacher adds" in done.err) == (4, True)
    done = drag("eval", write(tmp_path / "p.jsonl", [prediction(1)]), "--gold", gold, "--by-relevance")
    assert (done.code, "--by-relevance is about candidates" in done.err) == (2, True)


def test_the_order_of_a_choice_is_a_ranking_too(drag, gold: Path, tmp_path: Path) -> None:
    pytest.importorskip("ir_measures")
    made = [prediction(0), prediction(1, status="extra_text")]
    (system,) = report(drag("eval", write(tmp_path / "p.jsonl", made), "--gold", gold, "--ranking", "--limit", 2))["systems"]
    assert system["scores"]["mrr"]["mean"] == 0.5


def test_answers_and_rankings_are_not_mixed(drag, gold: Path, tmp_path: Path) -> None:
    candidates = write(tmp_path / "candidates.jsonl", [question(1)])
    made = write(tmp_path / "made.jsonl", [prediction(1)])
    assert drag("eval", candidates, made, "--gold", gold).code == 4
    done = drag("eval", candidates, "--baseline", candidates.rename(tmp_path / "c.jsonl"), "--gold", gold)
    assert done.code in (2, 4)
    done = drag("eval", made, "--metric", "exact", "--gold", gold)
    assert (done.code, "unknown metric 'exact'" in done.err) == (2, True)


def test_claim_recall_asks_the_model(drag, gold: Path, tmp_path: Path, monkeypatch) -> None:
    asked = []

    def load(_kind, name, _table):
        asked.append(name)
        return lambda _model, _device: lambda pairs: [claim == "true" for _, claim in pairs]

    monkeypatch.setattr("dynamicrag_cli.cli.eval.registry.load", load)
    questions = write(
        tmp_path / "long.jsonl", [{"id": "q-1", "question": "Why?", "answers": ["Because."], "claims": ["true", "false"]}]
    )
    made = write(tmp_path / "made.jsonl", [prediction(1)])
    (system,) = report(drag("eval", made, "--gold", questions, "--nli", "model"))["systems"]
    assert system["scores"]["claim_recall"]["mean"] == 0.5
    assert asked == ["nli"]
