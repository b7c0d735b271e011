"""vLLM itself with the packaged language model: `make test-vllm`. Each start of vLLM takes most of a minute."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dynamicrag_cli.adapters.files.templates import load_prompts
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.grammar import Constraint
from dynamicrag_cli.core.identifiers import WELL_FORMED, parse_selection
from dynamicrag_cli.core.records import Candidate, RetrievedQuestion
from tests.conftest import ROOT

MODEL = ROOT / "models/smollm2-135m"
TOY = ROOT / "examples/toy"
CONTEXT = 2048
OPTIONS = ["--model", MODEL, "--max-model-len", CONTEXT, "--max-selection-tokens", 12]
# Nats between two tokens that either engine may prefer: float32 sums in another order.
NEAR_TIE = 0.01

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def questions(count: int) -> list[RetrievedQuestion]:
    """Toy questions, each with two passages, whether they help or not."""
    passages = [Candidate(id=p["id"], title=p["title"], text=p["text"], score=1.0) for p in lines(TOY / "passages.jsonl")]
    asked = lines(TOY / "questions.jsonl")[:count]
    return [
        RetrievedQuestion(
            id=q["id"], question=q["question"], answers=q["answers"], dataset="qa", docs=passages[2 * i : 2 * i + 2]
        )
        for i, q in enumerate(asked)
    ]


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import msgspec

    path = tmp_path_factory.mktemp("asked") / "candidates.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in questions(3)))
    return path


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    from dynamicrag_cli.adapters.engines.settings import EngineSettings
    from dynamicrag_cli.adapters.engines.vllm import VllmEngine

    loaded = VllmEngine(str(MODEL), EngineSettings(max_model_len=CONTEXT, memory_share=0.5))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def hf() -> Any:
    from dynamicrag_cli.adapters.engines.hf import HfEngine
    from dynamicrag_cli.adapters.engines.settings import EngineSettings

    return HfEngine(str(MODEL), EngineSettings(device="cpu", dtype="float32", max_model_len=CONTEXT))


def test_sample_as_a_program(candidates: Path, tmp_path: Path) -> None:
    """Eight rollouts a question; when it ends, no process of vLLM is left."""
    output = tmp_path / "sampled.jsonl"
    command = ["sample", candidates, "-o", output, "--engine", "vllm", *OPTIONS, "--rollouts", 8, "--no-constrained"]
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "dynamicrag_cli", *map(str, command)], stderr=stderr, start_new_session=True
        )
        assert process.wait() == 0, log.read_text()
    deadline = time.monotonic() + 120  # the last of them, Python's own resource tracker, ends after the program
    while alive(process.pid):
        assert time.monotonic() < deadline, "processes of vLLM are left"
        time.sleep(1)
    made = lines(output)
    assert [record["id"] for record in made] == [record["id"] for record in lines(candidates)]
    for record in made:
        rollouts = record["rollouts"]
        assert len(rollouts) == 8
        assert not any(rollout.get("error") for rollout in rollouts)
        assert len({rollout["raw"] for rollout in rollouts}) > 1


def test_ctrl_c_reaches_the_program_alone_and_the_chunk_in_hand_is_kept(candidates: Path, tmp_path: Path) -> None:
    """A terminal sends it to every process of the group, those of vLLM among them."""
    output, log = tmp_path / "sampled.jsonl", tmp_path / "log"
    command = ["sample", candidates, "-o", output, "--engine", "vllm", *OPTIONS, "--rollouts", 8, "--chunk", 1]
    program = [sys.executable, "-m", "dynamicrag_cli", *map(str, command)]
    with log.open("w") as stderr:
        process = subprocess.Popen(program, stderr=stderr, start_new_session=True)
        partial = output.with_name(output.name + ".partial")
        while process.poll() is None and not (partial.exists() and partial.read_bytes().count(b"\n") > 1):
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait() == 130, log.read_text()
    assert "finishing the chunk in hand" in log.read_text()
    assert not any(rollout.get("error") for line in lines(partial)[1:] for rollout in line["rollouts"])
    assert len(lines(partial)[1:]) == 2
    again = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (again.returncode, "going on after 2 records" in again.stderr) == (0, True), again.stderr
    assert [record["id"] for record in lines(output)] == [record["id"] for record in lines(candidates)]


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def reply_gap(hf: Any, request: ChatRequest, one: str, other: str) -> float:
    """How much the `hf` engine's model prefers one of two replies at the first token in which they differ, in nats."""
    stop = hf.tokenizer.eos_token
    tokens = [hf.tokenizer(text + stop, add_special_tokens=False)["input_ids"] for text in (one, other)]
    first = next(i for i, (a, b) in enumerate(zip(*tokens, strict=False)) if a != b)
    (scores,) = hf.score([request], [hf.tokenizer.decode(ids[: first + 1]) for ids in tokens])
    return abs(scores[0] - scores[1])


def test_greedy_replies_are_those_of_hf(engine: Any, hf: Any) -> None:
    """At least 95 % of 24 replies are equal to the letter, and the others parted at a near tie."""
    prompts = load_prompts(None, engine.control_tokens)
    asked = [ChatRequest(record.id, prompts.reranker(record.question, record.docs)) for record in questions(24)]
    options = SamplingOptions(max_new_tokens=12)
    pairs = [(a[0], b[0]) for a, b in zip(engine.chat(asked, options), hf.chat(asked, options), strict=True)]
    assert all(a.error is None and a.text and a.n_prompt_tokens == b.n_prompt_tokens for a, b in pairs)
    differing = [(request, a.text, b.text) for request, (a, b) in zip(asked, pairs, strict=True) if a.text != b.text]
    gaps = [reply_gap(hf, *differs) for differs in differing]
    (twice,) = engine.chat(asked[:1], replace(options, n=2))  # vLLM itself refuses to draw several greedy samples
    assert [completion.text for completion in twice] == [pairs[0][0].text] * 2
    print(f"{len(pairs) - len(differing)} of {len(pairs)} replies are equal; gaps of the others: {gaps}")
    assert len(differing) <= 0.05 * len(pairs)
    assert all(gap < NEAR_TIE for gap in gaps)


def test_scores_are_those_of_hf(engine: Any, hf: Any) -> None:
    prompts = load_prompts(None, engine.control_tokens)
    asked = [ChatRequest(record.id, prompts.reranker(record.question, record.docs)) for record in questions(3)]
    for replies in (["[1]", "None", "[2], [1]"], ["Yes", "No"]):
        found, expected = ([value for row in e.score(asked, replies) for value in row] for e in (engine, hf))
        assert found == pytest.approx(expected, abs=2e-3)


def test_a_sample_depends_on_seed_and_key_alone(engine: Any) -> None:
    prompts = load_prompts(None, engine.control_tokens)
    asked = [ChatRequest(record.id, prompts.reranker(record.question, record.docs)) for record in questions(3)]
    options = SamplingOptions(n=4, temperature=1.0, top_p=0.9, max_new_tokens=6, seed=5)
    together = [[c.text for c in group] for group in engine.chat(asked, options)]
    assert [[c.text for c in engine.chat([request], options)[0]] for request in asked] == together


def test_constrained_replies_are_well_formed_and_greedily_those_of_hf(engine: Any, hf: Any) -> None:
    """The model was not trained to choose: freely it is malformed nearly always."""
    prompts = load_prompts(None, engine.control_tokens)
    free = [ChatRequest(record.id, prompts.reranker(record.question, record.docs)) for record in questions(6)]
    drawn = SamplingOptions(n=8, temperature=1.0, top_p=0.9, max_new_tokens=16, seed=1)

    def malformed(requests: list[ChatRequest]) -> int:
        texts = [completion.text for group in engine.chat(requests, drawn) for completion in group]
        return sum(parse_selection(text, 2).status not in WELL_FORMED for text in texts)

    def greedy(one: Any, **rules: Any) -> list[Completion]:
        held = [replace(request, constraint=Constraint(2, **rules)) for request in free]
        return [group[0] for group in one.chat(held, SamplingOptions(max_new_tokens=16))]

    assert malformed([replace(request, constraint=Constraint(2)) for request in free]) == 0
    assert malformed(free) > 24
    for rules in ({}, {"min_k": 2}, {"stop_bias": -3.0}, {"stop_bias": 3.0}):
        pairs = list(zip(greedy(engine, **rules), greedy(hf, **rules), strict=True))
        assert [one.text for one, _ in pairs] == [other.text for _, other in pairs]
        assert all(one.stop_probs == pytest.approx(other.stop_probs, abs=2e-3) for one, other in pairs)
    assert {completion.text for completion in greedy(engine, stop_bias=50.0)} == {"None"}
    held = [replace(request, constraint=Constraint(2)) for request in free]
    for completion in (completion for group in engine.chat(held, drawn) for completion in group):
        assert len(completion.stop_probs) == len(parse_selection(completion.text, 2).positions) + 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of vLLM's own OpenAI-compatible server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    program = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    model = ["--model", str(MODEL), "--served-model-name", "reader", "--max-model-len", str(CONTEXT)]
    here = ["--dtype", "float32", "--enforce-eager"]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0", "NO_PROXY": "127.0.0.1"}
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as output:
        process = subprocess.Popen([*program, *model, *here], stdout=output, stderr=output, env=environment)
        try:
            deadline = time.monotonic() + 900
            while not answers(f"http://127.0.0.1:{port}/health"):
                assert process.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < deadline, log.read_text()[-3000:]
                time.sleep(2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(url, timeout=5).status == 200
    except OSError:
        return False


def test_infer_in_this_process_and_through_the_server_are_the_same(
    drag, engine: Any, server: str, candidates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same prompts, same schema and, greedily, the same texts."""
    monkeypatch.setattr(engine, "close", lambda: None)
    monkeypatch.setattr("dynamicrag_cli.cli.models.registry.load", lambda *_name: lambda *_settings: engine)
    first = drag("infer", candidates, "-o", tmp_path / "vllm.jsonl", "--engine", "vllm", *OPTIONS, "--no-constrained")
    assert first.code == 0, first.err
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    named = ["--engine", "openai", "--model", "reader", "--base-url", server, "--max-selection-tokens", 12]
    second = drag("infer", candidates, "-o", tmp_path / "openai.jsonl", *named)
    assert second.code == 0, second.err
    one, other = lines(tmp_path / "vllm.jsonl"), lines(tmp_path / "openai.jsonl")
    assert one == other
    sampled = drag("sample", candidates, "-o", tmp_path / "sampled.jsonl", *named, "--rollouts", 4)
    assert sampled.code == 0, sampled.err
    assert all(len({r["raw"] for r in record["rollouts"]}) > 1 for record in lines(tmp_path / "sampled.jsonl"))


def test_a_process_that_dies_in_mid_run_is_an_engine_error() -> None:
    """In a program of its own. The process that holds the model is killed, as a system out of memory would."""
    code = (
        "import sys, psutil\n"
        "from dynamicrag_cli.adapters.engines.settings import EngineSettings\n"
        "from dynamicrag_cli.adapters.engines.vllm import VllmEngine\n"
        "from dynamicrag_cli.core.engine import ChatRequest, SamplingOptions\n"
        "from dynamicrag_cli.core.errors import EngineError\n"
        "from dynamicrag_cli.core.prompts import Chat\n"
        "engine = VllmEngine(sys.argv[1], EngineSettings(max_model_len=256, memory_share=0.25))\n"
        "max(psutil.Process().children(recursive=True), key=lambda child: child.memory_info().rss).kill()\n"
        "try:\n"
        "    engine.chat([ChatRequest('a', Chat('s', 'u'))], SamplingOptions())\n"
        "except EngineError as error:\n"
        "    print('caught', error)\n"
        "engine.close()\n"
    )
    script = [sys.executable, "-c", code, str(MODEL)]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=900)
    assert "caught vLLM's engine process died" in done.stdout, done.stderr[-3000:]
