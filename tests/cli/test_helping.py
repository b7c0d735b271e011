"""Help in an order that helps, and one name per option wherever it is given."""

import json
from pathlib import Path

import pytest
import typer

from dynamicrag_cli.cli.config import option_key
from dynamicrag_cli.cli.helping import SECTIONS
from dynamicrag_cli.cli.main import app
from tests.samples import question, read, write


def test_every_command_is_listed_once_and_the_pipeline_first(drag) -> None:
    done = drag("--help")
    text = done.out.decode()
    places = [text.index(f"\n{title}:") for title in SECTIONS]
    assert (done.code, places) == (0, sorted(places))
    listed = [line.split()[0] for line in text[places[0] :].splitlines() if line.startswith("  ") and line[2] != " "]
    assert listed == [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(typer.main.get_command(app).commands)


def test_options_that_change_no_result_stand_apart_and_no_line_names_a_variable(drag) -> None:
    text = drag("retrieve", "--help").out.decode()
    first, _, running = text.partition("Running, without an effect on the result:")
    assert "--top-k" in first
    assert "--chunk" in running
    assert text.count("DRAG_RETRIEVE_") == running.count("DRAG_RETRIEVE_OPTION") == 1
    # One that is not named like that is told.
    assert "env var: DRAG_TRAINER" in drag("train", "sft", "--help").out.decode()


def test_a_variable_has_the_name_of_the_flag(tmp_path: Path, drag, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "in.jsonl", [question(1), question(2)])
    monkeypatch.setenv("DRAG_RERANK_TEACHER_JSON", "1")
    monkeypatch.setenv("DRAG_RERANK_TEACHER_OUTPUT", str(tmp_path / "out.jsonl"))
    monkeypatch.setenv("DRAG_RERANK_TEACHER_LIMIT", "1")
    monkeypatch.setenv("DRAG_RERANK_TEACHER_TEACHER", "gold")
    done = drag("rerank-teacher", source)
    assert (done.code, len(read(tmp_path / "out.jsonl"))) == (0, 1)
    assert [json.loads(line)["event"] for line in done.out.splitlines()] == ["start", "end"]
    # The flag beats the variable.
    assert drag("rerank-teacher", source, "--limit", 2).code == 0
    assert len(read(tmp_path / "out.jsonl")) == 2


def test_the_key_of_an_option_is_its_flag() -> None:
    params = typer.main.get_command(app).commands["convert"].params
    assert {"from", "to", "as", "questions"} <= {option_key(param) for param in params}
