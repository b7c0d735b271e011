"""What people see: never on stdout, and as plain text where stderr is no terminal."""

import json

import pytest
from rich.table import Table
from rich.text import Text

from dynamicrag_cli.cli import console


def test_messages_go_to_stderr_with_brackets_kept(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("[3], [1] [red]not a colour[/red]")
    assert capsys.readouterr() == ("", "[3], [1] [red]not a colour[/red]\n")


OBEYED = "\x1b[31mred \x1b]0;title\x07 \x9b1m \x08\x00\x7f \u202eback \r over"


def test_what_a_terminal_obeys_is_taken_out_and_nothing_else() -> None:
    assert console.printable(OBEYED) == "[31mred ]0;title 1m  back \n over"
    kept = "tab\t line\r\nß 日本 [red] :cat: é"
    assert console.printable(kept) == kept.replace("\r", "")
    assert console.one_line(" a\n\tb\r c\x1b ") == "a b c"
    assert console.printable("\ud800").encode() == b""


def test_json_keeps_everything_and_is_harmless() -> None:
    document = {"text": OBEYED, "ß": "日本"}
    for text in (console.json_text(document), console.json_text(document, indented=True)):
        assert json.loads(text) == document
        assert console.printable(text) == text
    assert "日本" in text
    assert "\n  " in text


def test_messages_are_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    console.say(f"{OBEYED} :cat:", style="red")
    assert capsys.readouterr().err == console.printable(OBEYED) + " :cat:\n"


@pytest.mark.parametrize("show", [console.show_table, console.show_data])
def test_square_brackets_in_tables_are_text(capsys: pytest.CaptureFixture[str], show) -> None:
    table = Table("[red]a", "b")
    table.add_row("[/bold] :cat:", Text("[blink]"))
    show(table)
    told = "".join(capsys.readouterr())
    assert [word for word in ("[red]a", "[/bold] :cat:", "[blink]") if word not in told] == []


def test_a_view_goes_to_stdout_wide_enough_for_tables(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    console.show_data(Text("x" * 130))
    assert [len(row) for row in capsys.readouterr().out.splitlines()] == [120, 10]
    monkeypatch.setenv("COLUMNS", "20")
    console.show_data(Text("x" * 130))
    assert [len(row) for row in capsys.readouterr().out.splitlines()] == [80, 50]


def test_data_ends_with_one_line_end(capsys: pytest.CaptureFixture[str]) -> None:
    console.write_stdout("one")
    console.write_stdout("two\n")
    assert capsys.readouterr() == ("one\ntwo\n", "")


def test_progress_without_a_terminal_is_a_line_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("work", 20) as bar:
        for _ in range(20):
            bar.advance(1, "loss 1.5")
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "work: 2/20 loss 1.5"
    assert len(told) == 9
    assert bar.done == 20


def test_progress_without_a_total_is_silent_until_it_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("work", None) as bar:
        bar.advance(3)
        assert capsys.readouterr().err == ""
        bar.set_total(10)
        bar.advance(1)
    assert capsys.readouterr().err == "work: 4/10\n"
