"""Running llamafactory-cli: its environment, its steps, and the cause of its failure in one line."""

import sys
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.trainers import llamafactory
from dynamicrag_cli.core.errors import EngineError, MissingExtraError


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llamafactory, "_POLL_S", 0.01)


def program(folder: Path, body: str) -> str:
    path = folder / "trainer"
    path.write_text(f"#!{sys.executable} -S\nimport sys, pathlib\nfolder = pathlib.Path(sys.argv[-1])\n{body}\n")
    path.chmod(0o755)
    return str(path)


def run(folder: Path, body: str) -> list[tuple[int, int, str]]:
    steps: list[tuple[int, int, str]] = []
    llamafactory.run(program(folder, body), ["train", str(folder)], folder, {}, lambda *step: steps.append(step))
    return steps


def test_the_last_step_is_told_with_its_loss(tmp_path: Path) -> None:
    line = '{"current_steps": 4, "total_steps": 9, "loss": 1.25, "accuracy": 0.5}'
    steps = run(tmp_path, f"(folder / 'trainer_log.jsonl').write_text('''{line}\n''')\nprint('hello')")
    assert steps[-1] == (4, 9, "loss 1.250 accuracy 0.500")
    assert (tmp_path / "train.log").read_text() == "hello\n"


def test_a_line_in_the_midst_of_being_written_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "trainer_log.jsonl").write_text('{"current_steps": 1, "total_steps": 2, "loss": 3.0}\n{"current_st')
    assert run(tmp_path, "pass")[-1] == (1, 2, "loss 3.000")


def test_a_trainer_without_a_log_is_no_error(tmp_path: Path) -> None:
    assert run(tmp_path, "pass") == []


def test_a_failure_has_exit_code_cause_and_log(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"exit 3\): ValueError: wrong\nLog: .*train\.log"):
        run(tmp_path, "print('ValueError: wrong'); sys.exit(3)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.", "lower --batch-size"),
        ("ValueError: Template llama9 does not exist.", "see --template"),
        ("ValueError: Undefined dataset x in dataset_info.json.", "no usable examples"),
        ("RuntimeError: Cannot find valid samples, check the data", "no usable examples"),
        ("OSError: org/x is not a local folder and is not a valid model", "see --model"),
        ("KeyError: 'surprise'", "KeyError: 'surprise'"),
        ("just words", "see the log"),
        ("", "see the log"),
    ],
)
def test_causes(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "train.log").write_text(f"Traceback (most recent call last):\n  File x\n{text}\n")
    assert words in llamafactory.cause_of(tmp_path / "train.log")


def test_the_cause_is_at_the_end_of_a_long_log(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_bytes(b"KeyError: early\n" + b"\xff progress\n" * 9000 + b"RuntimeError: late\n")
    assert llamafactory.cause_of(tmp_path / "train.log") == "RuntimeError: late"


def test_a_program_that_is_nowhere_needs_the_extra() -> None:
    with pytest.raises(MissingExtraError, match="--trainer"):
        llamafactory.find_cli("/nowhere/llamafactory-cli")
    assert llamafactory.find_cli(sys.executable) == sys.executable


def test_the_environment_of_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "yes")
    cpu, one, four = (llamafactory.environment(*given) for given in ((True, 4), (False, 1), (False, 4)))
    assert cpu["KEPT"] == "yes"
    assert cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert "FORCE_TORCHRUN" not in cpu
    assert "FORCE_TORCHRUN" not in one
    assert (four["FORCE_TORCHRUN"], four["NPROC_PER_NODE"]) == ("1", "4")
