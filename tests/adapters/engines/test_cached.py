"""Greedy replies on the disk: nothing is asked twice, and nothing is taken for what it is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.engines.cached import MEMORY, CachedEngine, ReplyCache, Tally, caller
from dynamicrag_cli.adapters.engines.settings import EngineSettings
from dynamicrag_cli.core.engine import ChatRequest, Completion, SamplingOptions
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.grammar import ChoiceRules, Constraint
from dynamicrag_cli.core.prompts import Chat
from tests.builders import ScriptedEngine, failing, says

GREEDY = SamplingOptions(max_new_tokens=7)


def asks(*users: str) -> list[ChatRequest]:
    return [ChatRequest(f"key {place} {user}", Chat("System.", user)) for place, user in enumerate(users)]


def echo() -> ScriptedEngine:
    return ScriptedEngine(
        lambda request, sample: Completion(f"{request.chat.user} {sample}", "length", 3, 2, (-0.1, -1e-30, float("-inf")))
    )


def texts(groups: list[list[Completion]]) -> list[list[str]]:
    return [[completion.text for completion in group] for group in groups]


def test_replies_outlive_the_process_whole(tmp_path: Path) -> None:
    path = tmp_path / "new/replies.sqlite"
    first = CachedEngine(echo(), ReplyCache(path), "m")
    made = first.chat(asks("a", "ä\n"), GREEDY)
    first.cache.close()
    tally = Tally()
    again = CachedEngine(failing(), ReplyCache(path), "m", tally)
    assert again.chat(asks("ä\n", "a"), GREEDY) == [made[1], made[0]]
    assert tally.counts() == {"cache_hits": 2, "cache_misses": 0}


def test_only_what_is_missing_is_asked_and_once_and_the_order_is_kept() -> None:
    engine, tally = echo(), Tally()
    cached = CachedEngine(engine, ReplyCache(MEMORY), "m", tally)
    cached.chat(asks("b"), GREEDY)
    assert texts(cached.chat(asks("a", "b", "c", "a"), GREEDY)) == [["a 0"], ["b 0"], ["c 0"], ["a 0"]]
    assert [[request.chat.user for request in call] for call in engine.calls] == [["b"], ["a", "c"]]
    assert tally.counts() == {"cache_hits": 2, "cache_misses": 3}
    assert Tally().counts() == {}


def test_all_greedy_samples_are_one() -> None:
    engine = echo()
    cached = CachedEngine(engine, ReplyCache(MEMORY), "m")
    assert texts(cached.chat(asks("a"), replace(GREEDY, n=3, seed=5))) == [["a 0"] * 3]
    assert texts(cached.chat(asks("a"), replace(GREEDY, n=2, seed=6, top_p=0.5))) == [["a 0"] * 2]
    assert engine.options == [replace(GREEDY, seed=5)]


def test_sampled_text_is_neither_kept_nor_taken() -> None:
    engine, tally = echo(), Tally()
    cached = CachedEngine(engine, ReplyCache(MEMORY), "m", tally)
    cached.chat(asks("a"), GREEDY)
    drawing = replace(GREEDY, temperature=0.7, n=2)
    for _ in range(2):
        assert texts(cached.chat(asks("a"), drawing)) == [["a 0", "a 1"]]
    assert engine.options[1:] == [drawing, drawing]
    assert tally.wanted == 1


def test_a_failure_is_asked_again_and_the_rest_is_kept() -> None:
    cache = ReplyCache(MEMORY)
    half = ScriptedEngine(lambda request, _: Completion("", "error", error="429") if request.chat.user == "a" else "fine")
    ((failed,), (fine,)) = CachedEngine(half, cache, "m").chat(asks("a", "b"), GREEDY)
    assert (failed.error, fine.text) == ("429", "fine")
    engine = says("now")
    assert texts(CachedEngine(engine, cache, "m").chat(asks("a", "b"), GREEDY)) == [["now"], ["fine"]]
    assert len(engine.requests) == 1


@pytest.mark.parametrize("change", ["model", "system", "user", "length"])
def test_another_model_prompt_or_option_is_another_key(change: str) -> None:
    cache = ReplyCache(MEMORY)
    CachedEngine(says("old"), cache, "m").chat([ChatRequest("k", Chat("s", "u"))], GREEDY)
    chat = Chat("S" if change == "system" else "s", "U" if change == "user" else "u")
    options = replace(GREEDY, max_new_tokens=8) if change == "length" else GREEDY
    other = CachedEngine(says("new"), cache, "M" if change == "model" else "m")
    assert texts(other.chat([ChatRequest("k", chat)], options)) == [["new"]]


def test_what_becomes_of_a_reply_is_no_part_of_its_key() -> None:
    engine = echo()
    cached = CachedEngine(engine, ReplyCache(MEMORY), "m")
    for rules in (ChoiceRules(), ChoiceRules(invalid="strict", max_context_tokens=9)):
        cached.chat(asks("a"), replace(GREEDY, choice=rules))
    assert len(engine.requests) == 1
    (free,) = asks("a")
    for held in (Constraint(2), Constraint(2, stop_bias=1)):
        cached.chat([replace(free, constraint=held)], GREEDY)
    assert len(engine.requests) == 3


def test_the_caller_is_the_content_of_the_model_and_how_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, plain = tmp_path / "model", EngineSettings()
    model.write_text("one")
    names = [caller("hf", str(model), plain), caller("vllm", str(model), plain)]
    changes = [{"dtype": "float16"}, {"device": "cuda"}, {"max_model_len": 99}, {"base_url": "http://a"}, {"revision": "a" * 40}]
    names += [caller("hf", str(model), replace(plain, **change)) for change in changes]
    model.write_text("two")
    names.append(caller("hf", str(model), plain))
    for address in ("http://a/v1", "http://b/v1"):
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        names.append(caller("openai", "gpt", plain))
    assert len({*names}) == len(names)
    copy = tmp_path / "copy"
    copy.write_text("two")
    assert caller("hf", str(copy), replace(plain, batch_tokens=1, concurrency=2, timeout_s=1.0)) == names[-3]


def test_two_processes_may_write(tmp_path: Path) -> None:
    one, other = (CachedEngine(echo(), ReplyCache(tmp_path / "replies.sqlite"), "m") for _ in range(2))
    one.chat(asks("a"), GREEDY)
    other.chat(asks("a", "b"), GREEDY)
    one.chat(asks("b", "c"), GREEDY)
    assert [len(engine.engine.requests) for engine in (one, other)] == [2, 1]


def test_a_file_that_is_no_cache_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no base at all" * 100)
    with pytest.raises(InputError, match="give another --cache"):
        ReplyCache(tmp_path / "text")
    with pytest.raises(InputError, match="cannot use the cache"):
        ReplyCache(tmp_path)


def test_a_reply_that_cannot_be_read_is_an_error_and_no_reply(tmp_path: Path) -> None:
    cached = CachedEngine(echo(), ReplyCache(tmp_path / "replies.sqlite"), "m")
    cached.chat(asks("a"), GREEDY)
    with cached.cache.base:
        cached.cache.base.execute("UPDATE replies SET reply = x'c1'")
    with pytest.raises(InputError, match=r"replies\.sqlite.*delete it"):
        cached.chat(asks("a"), GREEDY)


def test_the_rest_is_the_engine_s() -> None:
    engine = echo()
    cached = CachedEngine(engine, ReplyCache(MEMORY), "m")
    assert cached.control_tokens is engine.control_tokens
    assert cached.excess([Chat("", "one two")], 3) == engine.excess([Chat("", "one two")], 3)
    with pytest.raises(NotImplementedError):
        cached.score(asks("a"), ["Yes"])
    with pytest.raises(NotImplementedError):
        cached.close()
