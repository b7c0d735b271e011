"""What people see: never on stdout, and as plain text where stderr is no terminal."""

import pytest

from dynamicrag_cli.cli import console


def test_messages_go_to_stderr_with_brackets_kept(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("[3], [1] [red]not a colour[/red]")
    assert capsys.readouterr() == ("", "[3], [1] [red]not a colour[/red]\n")


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
