"""The `openai` engine against a server on this machine that answers well, badly, late or not at all."""

import socket

import pytest
from tenacity import wait_none

from dynamicrag_cli.adapters.engines import openai as module
from dynamicrag_cli.adapters.engines.openai import OpenAiEngine
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import ChatRequest, SamplingOptions
from dynamicrag_cli.core.errors import EngineError, UsageError
from dynamicrag_cli.core.prompts import Chat
from tests.loopback import error, reply, texts

KEY = "sk-test-0123456789"
ONE = [ChatRequest("a", Chat("Be brief.", "Why?"))]
TWO = [*ONE, ChatRequest("b", Chat("", "How?"))]


@pytest.fixture
def engine(loopback, monkeypatch: pytest.MonkeyPatch) -> OpenAiEngine:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(module, "wait_random_exponential", lambda **_settings: wait_none())
    return OpenAiEngine("some-model", EngineSettings(base_url=loopback.url, timeout_s=5.0))


def test_a_request_carries_turns_options_and_a_seed_of_its_own(engine: OpenAiEngine, loopback) -> None:
    options = SamplingOptions(n=2, temperature=0.7, top_p=0.9, max_new_tokens=12, seed=3)
    engine.chat(TWO, options)
    engine.chat(TWO, options)
    engine.chat(TWO, SamplingOptions(n=2, seed=4))
    sent = {(r["messages"][-1]["content"], i // 2): r for i, r in enumerate(loopback.requests)}
    first = sent["Why?", 0]
    assert first["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert sent["How?", 0]["messages"] == [{"role": "user", "content": "How?"}]
    assert {name: first[name] for name in ("model", "n", "temperature", "top_p", "max_tokens")} == {
        "model": "some-model", "n": 2, "temperature": 0.7, "top_p": 0.9, "max_tokens": 12
    }  # fmt: skip
    assert first["path"] == "/v1/chat/completions"
    seeds = [sent[name, call]["seed"] for call in range(3) for name in ("Why?", "How?")]
    assert seeds[:2] == seeds[2:4]
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_samples_come_back_in_shape_with_their_counts(engine: OpenAiEngine, loopback) -> None:
    loopback.answers = [texts(" [1] ", "[2]", "None", finish="length")]
    groups = engine.chat(TWO, SamplingOptions(n=3))
    assert [[c.text for c in group] for group in groups] == [["[1]", "[2]", "None"]] * 2
    completion = groups[0][0]
    assert (completion.finish_reason, completion.n_prompt_tokens, completion.n_new_tokens) == ("length", 11, 3)
    assert completion.error is None


def test_requests_keep_their_order_whatever_the_server_does(engine: OpenAiEngine, loopback) -> None:
    def echo(handler, body) -> None:
        texts(body["messages"][-1]["content"])(handler, body)

    loopback.answers = [echo]
    asked = [ChatRequest(str(i), Chat("s", f"number {i}")) for i in range(20)]
    assert [group[0].text for group in engine.chat(asked, SamplingOptions())] == [f"number {i}" for i in range(20)]


def test_nothing_asked_is_nothing_answered(engine: OpenAiEngine, loopback) -> None:
    assert engine.chat([], SamplingOptions()) == []
    assert loopback.requests == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_passes_is_tried_again(engine: OpenAiEngine, loopback, status: int) -> None:
    loopback.answers = [error(status, "later"), error(status, "later"), texts("ok")]
    assert engine.chat(ONE, SamplingOptions())[0][0].text == "ok"
    assert len(loopback.requests) == 3


def test_what_does_not_pass_is_an_error_of_that_request_alone(engine: OpenAiEngine, loopback) -> None:
    def only_how(handler, body) -> None:
        (texts("ok") if body["messages"][-1]["content"] == "How?" else error(500, "broken"))(handler, body)

    loopback.answers = [only_how]
    (failed, also), (answered, _) = engine.chat(TWO, SamplingOptions(n=2))
    assert failed == also
    assert (failed.text, failed.finish_reason) == ("", "error")
    assert failed.error.startswith("InternalServerError")
    assert answered.text == "ok"
    assert len([r for r in loopback.requests if r["messages"][-1]["content"] == "Why?"]) == module._ATTEMPTS


def test_a_refusal_is_not_tried_again(engine: OpenAiEngine, loopback) -> None:
    loopback.answers = [error(400, "no such option")]
    assert "no such option" in engine.chat(ONE, SamplingOptions())[0][0].error
    assert len(loopback.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, "<html><body>Sign in</body></html>", "text/html"),
        reply(200, "<html><body>Sign in</body></html>"),
        reply(200, "{}"),
        reply(200, '{"choices": []}'),
        reply(200, '{"choices": [{"index": 0, "finish_reason": "stop", "message": null}]}'),
        reply(200, "[1, 2]"),
        reply(502, "<html>Bad gateway</html>", "text/html"),
        reply(404, "<html>Not here</html>", "text/html"),
    ],
    ids=["html", "html-as-json", "empty", "no-choices", "no-message", "list", "502", "404"],
)
def test_a_foreign_body_is_an_error_completion(engine: OpenAiEngine, loopback, answer) -> None:
    loopback.answers = [answer]
    (group,) = engine.chat(ONE, SamplingOptions(n=2))
    assert [(c.text, c.finish_reason, bool(c.error)) for c in group] == [("", "error", True)] * 2


def test_a_server_that_gives_fewer_samples_leaves_errors_in_the_rest(engine: OpenAiEngine, loopback) -> None:
    def one(handler, body) -> None:
        texts("ok")(handler, {**body, "n": 1})

    loopback.answers = [one]
    (group,) = engine.chat(ONE, SamplingOptions(n=3))
    assert [c.text for c in group] == ["ok", "", ""]
    assert "1 of 3 samples" in group[2].error


def test_a_server_that_hangs_is_a_time_out_and_no_hang(engine: OpenAiEngine, loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 2)
    slow = OpenAiEngine("some-model", EngineSettings(base_url=loopback.url, timeout_s=0.2))
    loopback.answers = [loopback.hang]
    (completion,) = slow.chat(ONE, SamplingOptions())[0]
    assert completion.finish_reason == "error"
    assert completion.error.startswith("APITimeoutError")
    assert len(loopback.requests) == 2


def test_a_server_that_is_down_is_an_engine_error(monkeypatch: pytest.MonkeyPatch, engine: OpenAiEngine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        nobody = OpenAiEngine("some-model", EngineSettings(base_url=f"http://127.0.0.1:{port}/v1"))
        with pytest.raises(EngineError, match=rf"no request reached http://127\.0\.0\.1:{port}/v1"):
            nobody.chat(TWO, SamplingOptions())


def test_the_key_is_sent_and_shown_nowhere(engine: OpenAiEngine, loopback) -> None:
    loopback.answers = [error(401, "wrong key"), texts("ok")]
    first = engine.chat(ONE, SamplingOptions())
    assert loopback.requests[0]["headers"]["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(first)
    assert KEY not in repr(vars(engine))


def test_a_key_that_the_server_repeats_is_not_kept(engine: OpenAiEngine, loopback) -> None:
    loopback.answers = [error(401, f"Incorrect API key provided: {KEY}.")]
    (completion,) = engine.chat(ONE, SamplingOptions())[0]
    assert completion.finish_reason == "error"
    assert KEY not in completion.error


def test_an_address_or_a_key_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="--base-url"):
        OpenAiEngine("m", EngineSettings())
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert OpenAiEngine("m", EngineSettings()).base_url == "http://127.0.0.1:1/v1"


def test_a_local_server_needs_no_key(loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    local = OpenAiEngine("m", EngineSettings(base_url=loopback.url))
    assert local.chat(ONE, SamplingOptions())[0][0].text == "ok"


def test_it_cannot_score_and_says_who_can(engine: OpenAiEngine) -> None:
    with pytest.raises(UsageError, match="--engine hf"):
        engine.score(ONE, ["Yes"])
