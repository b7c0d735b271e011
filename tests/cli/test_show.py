"""`drag show`: records for people, and the prompts that are made of them."""

import gzip
import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from dynamicrag_cli.core.engine import SamplingOptions
from dynamicrag_cli.core.records import RetrievedQuestion
from dynamicrag_cli.core.selectors import parse_selector
from dynamicrag_cli.stages import rollouts
from tests.builders import ScriptedEngine, default_prompts
from tests.conftest import ROOT
from tests.samples import SELECT, prediction, question, sampled, write

EVIL = "\x1b]0;title\x07\x1b[31m[red]text[/bold]\x9b1m\u202e :cat:"
SEEN = "]0;title[31m[red]text[/bold]1m :cat:"


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    return write(tmp_path / "candidates.jsonl", [question(number) for number in range(30)])


def headings(text: str) -> list[str]:
    return [row.split()[1] for row in text.splitlines() if "(line " in row]


def test_the_first_record_is_shown_on_stdout(drag, candidates: Path) -> None:
    done = drag("show", candidates)
    assert done.code == 0, done.err
    assert headings(done.out.decode()) == ["q-0"]
    assert "read as RetrievedQuestion, guessed" in done.err


def test_a_record_by_its_id_and_those_after_it(drag, candidates: Path) -> None:
    assert headings(drag("show", candidates, "--id", "q-25").out.decode()) == ["q-25"]
    assert headings(drag("show", candidates, "--id", "q-25", "-n", 3).out.decode()) == ["q-25", "q-26", "q-27"]
    assert headings(drag("show", candidates, "-n", 2).out.decode()) == ["q-0", "q-1"]
    assert headings(drag("show", candidates, "--id", "q-29", "-n", 9).out.decode()) == ["q-29"]


def test_standard_input(drag, candidates: Path) -> None:
    assert headings(drag("show", "-", "--id", "q-29", stdin=candidates.read_bytes()).out.decode()) == ["q-29"]


def test_json_is_the_record_as_drag_writes_it_one_per_line(drag, candidates: Path) -> None:
    done = drag("show", candidates, "--json", "-n", 3)
    assert [json.loads(row) for row in done.out.splitlines()] == [question(number) for number in range(3)]


def test_foreign_names_are_ours_in_json(drag, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", [{"_id": 7, "query": "Why?", "answer": "x"}])
    expected = {"id": "7", "question": "Why?", "answers": ["x"], "dataset": "qa"}
    assert json.loads(drag("show", path, "--id", "7", "--json").out) == expected


def test_a_damaged_file_is_shown_up_to_the_damage(drag, tmp_path: Path) -> None:
    whole = gzip.compress(
        write(tmp_path / "plain.jsonl", [question(n, noise=os.urandom(2000).hex()) for n in range(60)]).read_bytes()
    )
    (tmp_path / "in.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert drag("show", tmp_path / "in.jsonl.gz", "-n", 3).code == 0
    done = drag("show", tmp_path / "in.jsonl.gz", "-n", 60, "--json")
    assert (done.code, done.error, "damaged" in done.err) == (4, None, True)
    assert 3 < len(done.out.splitlines()) < 60


def test_lines_that_are_no_records_are_told_and_left_out(drag, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", [question(1, split=5), question(2), question(3, docs=5)])
    done = drag("show", path, "-n", 5)
    assert (done.code, headings(done.out.decode())) == (0, ["q-2"])
    assert "line 1: split Expected" in done.err
    assert "line 3: docs Expected" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--id", "q-99"], 4, "no record has the id 'q-99'"),
        (["--id", "broken"], 4, "line 31: split Expected `str | null`, got `int`; drag validate lists all problems"),
        (["--as", "Pasage"], 2, "Did you mean 'Passage'?"),
        (["--as", "Passage"], 4, "no record can be shown"),
        (["--as", "Reject"], 4, "line 1: line the field is missing"),
        (["-n", "0"], 2, "-n"),
        (["--prompt", "--templates", "nowhere"], 4, "nowhere"),
    ],
)
def test_what_cannot_be_shown(drag, candidates: Path, arguments: list[str], code: int, words: str) -> None:
    with candidates.open("a") as file:
        file.write(json.dumps(question(1, id="broken", split=5)) + "\n")
    done = drag("show", candidates, *arguments)
    assert (done.code, done.error, done.out) == (code, None, b"")
    assert words in " ".join(done.err.split())


@pytest.mark.parametrize("arguments", [[], ["--prompt"], ["--json"], ["--prompt", "--json"]])
def test_a_corpus_neither_colours_nor_renames_the_terminal(drag, tmp_path: Path, arguments: list[str]) -> None:
    doc = {"id": EVIL, "title": EVIL, "text": EVIL}
    record = question(1, question=EVIL, answers=[EVIL], docs=[doc], gold_passage_ids=[EVIL], meta={EVIL: EVIL})
    rollout = {"selection": [EVIL], "status": "ok", "raw": EVIL, "answer": EVIL, "error": EVIL}
    done = drag("show", write(tmp_path / "in.jsonl", [{**record, "rollout": rollout, "selector": EVIL}]), *arguments)
    assert done.code == 0, done.err
    assert not {*done.out.decode()} & {*"\x1b\x07\x9b\u202e"}
    if not arguments:
        # Question, answer, gold, candidate, its title and text, selector, reply, answer and error; meta is shown as JSON.
        assert " ".join(done.out.decode().split()).count(SEEN) == 10
    if arguments == ["--json"]:
        assert json.loads(done.out)["docs"] == [doc]


@pytest.mark.parametrize("name", ["id", "role", "system", "user", "assistant"])
def test_turns_are_not_obeyed_either(drag, tmp_path: Path, name: str) -> None:
    example = {"id": "a", "role": "r", "system": "s", "user": "u", "assistant": "a", name: EVIL}
    done = drag("show", write(tmp_path / "in.jsonl", [example]))
    assert SEEN in " ".join(done.out.decode().split())
    assert not {*done.out.decode()} & {*"\x1b\x07\x9b\u202e"}


def test_colours_of_ours_do_not_open_the_door_to_others(drag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    done = drag("show", write(tmp_path / "in.jsonl", [question(1, question=EVIL)]))
    assert b"\x1b[1m" in done.out
    assert not [code for code in (b"\x1b]", b"\x07", b"\x1b[31m[red]") if code in done.out]


def prompts_of(drag, path: Path, *arguments: object) -> dict:
    done = drag("show", path, "--prompt", "--json", *arguments)
    assert done.code == 0, done.err
    return json.loads(done.out)["prompts"]


@pytest.mark.parametrize("selector", ["llm", "all", "none"])
def test_the_prompts_are_those_that_infer_hands_to_its_engine(drag, tmp_path: Path, selector: str) -> None:
    record = question(1, question="Which [2] town?\nNow")
    engine = ScriptedEngine(lambda request, _: "[3], [1]" if SELECT in request.chat.user else "Ulm")
    prompts = default_prompts()
    policy = engine if selector == "llm" else None
    retrieved = msgspec.convert(record, RetrievedQuestion)
    (made,) = rollouts.infer([retrieved], parse_selector(selector), policy, engine, prompts, prompts, SamplingOptions())
    path = tmp_path / "out.jsonl"
    path.write_bytes(msgspec.json.encode(made) + b"\n")
    shown = prompts_of(drag, path)
    sent = [{"system": request.chat.system, "user": request.chat.user} for request in engine.requests]
    assert [shown["reranker"], shown["generator"]][-len(sent) :] == sent
    assert len(sent) == (2 if selector == "llm" else 1)
    text = drag("show", path, "--prompt").out.decode()
    assert f"--- generator, user\n{sent[-1]['user']}\n" in text
    assert f"--- reranker, system\n{shown['reranker']['system']}\n--- reranker, user\n{shown['reranker']['user']}\n" in text


def test_before_anything_is_chosen_the_generator_gets_all_candidates(drag, candidates: Path) -> None:
    record = question(0)
    shown = prompts_of(drag, candidates)
    texts = [doc["text"] for doc in record["docs"]]
    assert [text for text in texts if text not in shown["reranker"]["user"] or text not in shown["generator"]["user"]] == []


def test_the_generator_reads_the_selection_of_the_rollout_that_is_asked_for(drag, tmp_path: Path) -> None:
    path = write(tmp_path / "sampled.jsonl", [sampled(1)])
    first, gold, last = (doc["text"] for doc in sampled(1)["docs"])
    users = [prompts_of(drag, path, "--rollout", number)["generator"]["user"] for number in (1, 2, 3, 4)]
    found = [sorted((user.index(text), text) for text in (first, gold, last) if text in user) for user in users]
    assert [[text for _, text in row] for row in found] == [[gold], [gold, first, last], [last], []]
    assert prompts_of(drag, path)["generator"]["user"] == users[0]
    done = drag("show", path, "--prompt", "--rollout", 5)
    assert (done.code, "has 4 rollouts" in done.err) == (2, True)


def test_what_did_not_fit_is_in_no_prompt(drag, tmp_path: Path) -> None:
    names = [doc["id"] for doc in question(1)["docs"]]
    texts = [doc["text"] for doc in question(1)["docs"]]
    path = write(tmp_path / "out.jsonl", [prediction(1, selection=names[:2], n_unseen=1, n_unread=1, cut=True)])
    shown = prompts_of(drag, path)
    assert [text in shown["reranker"]["user"] for text in texts] == [True, True, False]
    assert [text in shown["generator"]["user"] for text in texts] == [True, False, False]
    assert "a passage was cut" in drag("show", path, "--prompt").err


def test_a_generator_that_was_not_asked_has_no_prompt(drag, tmp_path: Path) -> None:
    path = write(tmp_path / "out.jsonl", [prediction(1, selection=[], status="no_identifier", answer=None)])
    assert prompts_of(drag, path)["generator"] is None
    assert "--- generator: is not asked" in drag("show", path, "--prompt").out.decode()


def test_an_example_shows_the_turns_it_holds(drag) -> None:
    shown = prompts_of(drag, ROOT / "tests/golden/records/PreferencePair.jsonl")
    assert shown == {"reranker": {"system": "You choose passages.", "user": "Question: Where does the Danube rise?"}}


def test_a_question_without_candidates_is_asked_from_memory(drag, tmp_path: Path) -> None:
    path = write(tmp_path / "questions.jsonl", [{"id": "a", "question": "Why is that?"}])
    shown = prompts_of(drag, path)
    assert [*shown] == ["generator"]
    assert "Why is that?" in shown["generator"]["user"]


def test_a_passage_has_no_prompt(drag, tmp_path: Path) -> None:
    done = drag("show", write(tmp_path / "p.jsonl", [{"id": "p", "text": "x"}]), "--prompt")
    assert (done.code, "no prompt is made of a Passage" in done.err) == (2, True)


def test_templates_of_ones_own(drag, tmp_path: Path, candidates: Path) -> None:
    shutil.copytree(ROOT / "templates/prompts", tmp_path / "own/prompts")
    (tmp_path / "own/prompts/reranker.system.jinja").write_text("Choose, please.")
    assert prompts_of(drag, candidates, "--templates", tmp_path / "own")["reranker"]["system"] == "Choose, please."


def test_control_tokens_of_a_tokenizer_are_neutralised(drag, tmp_path: Path, tiny_lm: Path) -> None:
    from dynamicrag_cli.adapters.engines.tokens import control_tokens

    token = sorted(token for token in control_tokens(str(tiny_lm)) if token.strip())[0]
    path = write(tmp_path / "in.jsonl", [question(1, question=f"Why {token} so?")])
    assert token not in prompts_of(drag, path, "--tokenizer", tiny_lm)["reranker"]["user"]
