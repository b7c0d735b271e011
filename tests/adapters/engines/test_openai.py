"""The `openai` engine against a server on this machine that answers well, badly, late or not at all."""

import socket
import threading
from collections import Counter
from dataclasses import replace

import pytest

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
    monkeypatch.setattr(module, "_RETRIES", 2)
    return OpenAiEngine("some-model", EngineSettings(base_url=loopback.url, timeout_s=5.0))


def test_a_request_carries_turns_options_and_a_seed_of_its_own(engine: OpenAiEngine, loopback) -> None:
    options = SamplingOptions(n=2, temperature=0.7, top_p=0.9, max_new_tokens=12, seed=3)
    engine.chat(TWO, options)
    engine.chat(TWO, options)
    engine.chat(TWO, replace(options, seed=4))
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
    groups = engine.chat(TWO, SamplingOptions(n=3, temperature=1.0))
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
    assert len([r for r in loopback.requests if r["messages"][-1]["content"] == "Why?"]) == module._RETRIES + 1


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
    ],
    ids=["html", "html-as-json", "empty", "no-choices", "no-message", "list", "502"],
)
def test_a_foreign_body_is_an_error_completion(engine: OpenAiEngine, loopback, answer) -> None:
    loopback.answers = [answer]
    (group,) = engine.chat(ONE, SamplingOptions(n=2))
    assert [(c.text, c.finish_reason, bool(c.error)) for c in group] == [("", "error", True)] * 2


@pytest.mark.parametrize("refuses", [False, True], ids=["gives-one", "refuses-more"])
def test_a_server_that_gives_one_sample_at_a_time_is_asked_for_each(engine: OpenAiEngine, loopback, refuses: bool) -> None:
    def one(handler, body) -> None:
        more = refuses and body["n"] > 1
        (error(400, "only one choice is allowed") if more else texts(str(body["seed"])))(handler, {**body, "n": 1})

    loopback.answers = [one]
    (group,) = engine.chat(ONE, SamplingOptions(n=3, temperature=1.0))
    first = loopback.requests[0]["seed"]
    assert [(c.text, c.error) for c in group] == [(str(first + number), None) for number in range(3)]


def test_what_is_there_when_a_later_sample_fails_is_kept(engine: OpenAiEngine, loopback) -> None:
    def one(handler, body) -> None:
        (texts("ok") if body["n"] == 3 else error(400, "no more"))(handler, {**body, "n": 1})

    loopback.answers = [one]
    (group,) = engine.chat(ONE, SamplingOptions(n=3, temperature=1.0))
    assert [(c.text, c.finish_reason) for c in group] == [("ok", "stop"), ("", "error"), ("", "error")]


def test_greedy_samples_are_asked_for_once(engine: OpenAiEngine, loopback) -> None:
    (group,) = engine.chat(ONE, SamplingOptions(n=3))
    assert [c.text for c in group] == ["ok"] * 3
    assert [r["n"] for r in loopback.requests] == [1]


def test_a_reply_that_a_filter_withheld_is_no_empty_answer(engine: OpenAiEngine, loopback) -> None:
    loopback.answers = [texts("", finish="content_filter")]
    (completion,) = engine.chat(ONE, SamplingOptions())[0]
    assert (completion.finish_reason, "content filter" in completion.error) == ("error", True)


def test_a_reply_that_ended_within_its_reasoning_is_no_empty_answer(engine: OpenAiEngine, loopback) -> None:
    """A server that parses reasoning gives no content then."""
    loopback.answers = [texts("", finish="length")]
    (completion,) = engine.chat(ONE, SamplingOptions())[0]
    assert (completion.finish_reason, "within the model's reasoning" in completion.error) == ("error", True)


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_what_is_not_about_the_request_ends_the_command(engine: OpenAiEngine, loopback, status: int) -> None:
    loopback.answers = [error(status, "not for you")]
    with pytest.raises(EngineError, match=r"127\.0\.0\.1.* gives no answers: .*not for you"):
        engine.chat(ONE, SamplingOptions())
    assert len(loopback.requests) == (module._RETRIES + 1 if status == 429 else 1)


def test_a_limit_of_requests_is_waited_for_while_others_get_through(engine: OpenAiEngine, loopback) -> None:
    """Every request is refused twice as often as it is retried, while answers to others come."""
    refused: Counter[str] = Counter()

    def storm(handler, body) -> None:
        name = body["messages"][-1]["content"]
        if name == "0" and refused[name] < 2 * (module._RETRIES + 1):
            # Another one is answered before each refusal.
            refused[name] += 1
            others.acquire(timeout=10)
            error(429, "slow down")(handler, body)
        else:
            texts(name)(handler, body)
            others.release()

    others = threading.Semaphore(0)
    loopback.answers = [storm]
    asked = [ChatRequest(str(i), Chat("s", str(i))) for i in range(40)]
    assert [group[0].text for group in engine.chat(asked, SamplingOptions())] == [str(i) for i in range(40)]
    assert refused["0"] == 2 * (module._RETRIES + 1)


@pytest.mark.parametrize("answer", [error(500, "broken"), reply(200, "<html>Sign in</html>", "text/html")], ids=["500", "html"])
def test_a_server_that_answers_none_of_many_is_an_engine_error(engine: OpenAiEngine, loopback, answer) -> None:
    loopback.answers = [answer]
    with pytest.raises(EngineError, match="what is finished is kept"):
        engine.chat(TWO, SamplingOptions())


def test_requests_that_are_all_unfit_are_errors_of_their_own(engine: OpenAiEngine, loopback) -> None:
    loopback.answers = [error(400, "longer than the context")]
    assert [group[0].finish_reason for group in engine.chat(TWO, SamplingOptions())] == ["error", "error"]


def test_the_guess_of_tokens_knows_that_other_scripts_have_more(engine: OpenAiEngine, loopback) -> None:
    counting = OpenAiEngine("some-model", EngineSettings(base_url=loopback.url, max_model_len=100))
    chats = [Chat("", "Donau" * 12), Chat("", "多瑙河流经" * 12)]
    assert counting.excess(chats, 10) == [20 + 10 - 100, 60 + 10 - 100]


def test_a_server_that_hangs_is_a_time_out_and_no_hang(engine: OpenAiEngine, loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRIES", 1)
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
        with pytest.raises(EngineError, match=rf"http://127\.0\.0\.1:{port}/v1 gives no answers"):
            nobody.chat(TWO, SamplingOptions())


def test_the_key_is_sent_and_shown_nowhere(engine: OpenAiEngine, loopback) -> None:
    loopback.answers = [error(400, "wrong key"), texts("ok")]
    first = engine.chat(ONE, SamplingOptions())
    assert loopback.requests[0]["headers"]["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(first)
    assert KEY not in repr(vars(engine))


def test_a_key_that_the_server_repeats_is_not_kept(engine: OpenAiEngine, loopback) -> None:
    loopback.answers = [error(400, f"{KEY}?"), error(401, f"Incorrect API key provided: {KEY}.")]
    (completion,) = engine.chat(ONE, SamplingOptions())[0]
    assert completion.finish_reason == "error"
    assert KEY not in completion.error
    with pytest.raises(EngineError) as refused:
        engine.chat(ONE, SamplingOptions())
    assert KEY not in str(refused.value)


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
