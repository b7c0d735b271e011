"""Running llamafactory-cli: its environment, its steps, and the cause of its failure in one line."""

import socket
import sys
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.trainers import llamafactory
from dynamicrag_cli.adapters.trainers.llamafactory import Machines
from dynamicrag_cli.core.errors import EngineError, MissingExtraError, UsageError


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


@pytest.mark.parametrize(("line", "seen"), [('{"current_steps": 1, "total_steps": 2}', [None]), ("", [])])
def test_a_trainer_that_shows_no_example_is_not_checked_for_one_for_ever(tmp_path: Path, line: str, seen: list) -> None:
    told: list = []
    body = f"(folder / 'trainer_log.jsonl').write_text({line!r} + '\\n')\nimport time; time.sleep(1)"
    llamafactory.run(program(tmp_path, body), ["train", str(tmp_path)], tmp_path, {}, lambda *_: None, told.append)
    assert told == seen


def test_ray_puts_a_name_in_front_of_each_line(tmp_path: Path) -> None:
    told: list = []
    name = "\x1b[36m(Worker pid=12)\x1b[0m "
    shown = f"{name}training example:\n{name}input_ids:\n{name}[1, 22, 3]\n"
    body = f"print({shown!r}, flush=True)\nimport time; time.sleep(1)"
    llamafactory.run(program(tmp_path, body), ["train", str(tmp_path)], tmp_path, {}, lambda *_: None, told.append)
    assert told == [[1, 22, 3]]


@pytest.mark.parametrize("side", ["", "chosen_"])
def test_the_first_example_is_checked_once_and_ends_the_trainer_if_it_is_wrong(tmp_path: Path, side: str) -> None:
    seen: list[list[int]] = []

    def check(ids: list[int]) -> None:
        seen.append(ids)
        raise UsageError("another template")

    (tmp_path / "train.log").write_text("training example:\ninput_ids:\n[9]\n")  # of an earlier run
    body = f"print('training example:\\n{side}input_ids:\\n[1, 22, 3]\\ninputs:', flush=True)\nimport time; time.sleep(60)"
    with pytest.raises(UsageError, match="another template"):
        llamafactory.run(program(tmp_path, body), ["train", str(tmp_path)], tmp_path, {}, lambda *_: None, check)
    assert seen == [[1, 22, 3]]


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
        ("ImportError: deepspeed>=0.10.0,<=0.18.8 is required for a normal functioning", "make setup TRAIN_EXTRAS=deepspeed"),
        ("ModuleNotFoundError: No module named 'bitsandbytes'", "make setup TRAIN_EXTRAS=bitsandbytes"),
        ("ValueError: Your setup doesn't support bf16/gpu.", "type --no-bf16"),
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
    given = (Machines(use_cpu=True, gpus=4), Machines(), Machines(gpus=4), Machines(deepspeed=True))
    cpu, one, four, sharded = (llamafactory.environment(machines, "/elsewhere/bin/llamafactory-cli") for machines in given)
    assert cpu["KEPT"] == "yes"
    assert cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert "FORCE_TORCHRUN" not in cpu
    assert "FORCE_TORCHRUN" not in one
    assert (four["FORCE_TORCHRUN"], four["NPROC_PER_NODE"]) == ("1", "4")
    assert (sharded["FORCE_TORCHRUN"], sharded["NPROC_PER_NODE"]) == ("1", "1")
    # LLaMA-Factory calls torchrun by name: it must be the one of its own environment.
    assert four["PATH"].split(":")[0] == "/elsewhere/bin"


def test_the_commands_of_two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    first, second = llamafactory.commands(Machines(gpus=8, nodes=2), "llamafactory-cli", Path("/run 1/train.yaml"))
    assert first == (
        "DISABLE_VERSION_CHECK=1 NPROC_PER_NODE=8 FORCE_TORCHRUN=1 NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 "
        "llamafactory-cli train '/run 1/train.yaml'"
    )
    assert second == first.replace("NODE_RANK=0", "NODE_RANK=1")
    monkeypatch.delenv("MASTER_ADDR")
    assert f"MASTER_ADDR={socket.gethostname()} " in llamafactory.commands(Machines(nodes=2), "llamafactory-cli", Path("t"))[0]
    assert llamafactory.commands(Machines(), "/v/bin/llamafactory-cli", Path("t")) == [
        'PATH="/v/bin:$PATH" DISABLE_VERSION_CHECK=1 NPROC_PER_NODE=1 llamafactory-cli train t'
    ]


def test_ray_is_one_command_for_all_nodes() -> None:
    machines = Machines(gpus=8, nodes=2, ray=True)
    assert machines.workers == 16
    assert llamafactory.commands(machines, "llamafactory-cli", Path("t")) == [
        "DISABLE_VERSION_CHECK=1 USE_RAY=1 llamafactory-cli train t"
    ]


@pytest.mark.parametrize("loss", ["NaN", "Infinity"])
def test_a_loss_that_is_no_number_stops_the_run_at_once(tmp_path: Path, loss: str) -> None:
    line = f'{{"current_steps": 7, "total_steps": 9000, "loss": {loss}}}'
    body = f"(folder / 'trainer_log.jsonl').write_text('{line}' + chr(10))\nimport time; time.sleep(600)"
    with pytest.raises(EngineError, match=r"at step 7; lower --learning-rate and start with --fresh\nLog: .*train\.log"):
        run(tmp_path, body)
    # What an earlier run has left in the log does not stop the next one.
    assert run(tmp_path, "pass")
