"""The prompt of a question is the same wherever it is rendered: in cloning data, sampling, inference and preference pairs."""

import pytest

from dynamicrag_cli.core.engine import SamplingOptions
from dynamicrag_cli.core.prompts import Chat
from dynamicrag_cli.core.records import RetrievedQuestion, extend
from dynamicrag_cli.core.selectors import parse_selector
from dynamicrag_cli.core.targets import threshold_target
from dynamicrag_cli.stages.build_bc import GENERATOR_FILE, RERANKER_FILE, CloningOptions, build_bc
from dynamicrag_cli.stages.build_dpo import PairOptions, build_dpo
from dynamicrag_cli.stages.reward import reward
from dynamicrag_cli.stages.rollouts import infer, sample
from tests.builders import GOLD, ScriptedEngine, default_prompts, doc, labelled, says

PROMPTS = default_prompts(frozenset({"<tool>"}))
CANDIDATES = [doc(name, f"Text of {name}, [1] <tool>\nnext line.") for name in "abcde"]


def record(**fields):
    return labelled([0.1, 0.9, 0.2, 0.7, 0.8], docs=CANDIDATES, question="Where does\nthe <tool> Danube rise [2]?", **fields)


def cloned(source):
    (emission,) = build_bc([source], threshold_target, PROMPTS, CloningOptions(dev_share=0.0, dpo_share=0.0))
    return emission.files[RERANKER_FILE][0], emission.files[GENERATOR_FILE][0]


def in_the_order_of(example, source):
    shown = sorted(source.docs, key=lambda candidate: example.user.index(candidate.title))
    return extend(source, RetrievedQuestion, docs=shown)


def run(name, source, policy, reader):
    if name == "sample":
        return sample([source], policy, reader, PROMPTS, PROMPTS, SamplingOptions(temperature=1.0))
    return infer([source], parse_selector("llm"), policy, reader, PROMPTS, PROMPTS, SamplingOptions())


@pytest.mark.parametrize("command", ["sample", "infer"])
@pytest.mark.parametrize("dataset", ["qa", "fever", "eli5"])
def test_trained_prompts_are_the_prompts_of_inference(command, dataset):
    source = record(dataset=dataset)
    reranker, generator = cloned(source)
    policy, reader = says(reranker.assistant), says(GOLD)
    run(command, in_the_order_of(reranker, source), policy, reader)
    assert [request.chat for request in policy.requests] == [Chat(reranker.system, reranker.user)]
    assert [request.chat for request in reader.requests] == [Chat(generator.system, generator.user)]


@pytest.mark.parametrize("command", ["sample", "infer"])
def test_taught_reply_selects_the_target(command):
    source = record()
    reranker, _ = cloned(source)
    (made,) = run(command, in_the_order_of(reranker, source), says(reranker.assistant), says(GOLD))
    rollout = made.rollouts[0] if command == "sample" else made.rollout
    assert (rollout.selection, rollout.status) == (["b", "e", "d"], "ok")


def test_preference_pairs_stand_on_the_prompts_of_sampling():
    source = record()
    policy = says("[2], [5]", "[1]")
    reader = ScriptedEngine(lambda request, _: GOLD if "Title b" in request.chat.user else "Vienna")
    drawn = sample([source], policy, reader, PROMPTS, PROMPTS, SamplingOptions(n=2, temperature=1.0))
    (emission,) = build_dpo(reward(drawn, {"em": 1.0}, {}), PROMPTS, PairOptions())
    (reranker,), (generator,) = emission.files["reranker_dpo"], emission.files["generator_dpo"]
    assert Chat(reranker.system, reranker.user) == policy.requests[0].chat
    assert Chat(generator.system, generator.user) == reader.requests[0].chat
    assert (reranker.chosen, reranker.rejected) == ("[2], [5]", "[1]")
    assert (generator.chosen, generator.rejected) == (GOLD, "Vienna")


def test_every_stage_has_a_system_turn_of_its_own():
    source = record()
    for example in cloned(source):
        assert example.system
        assert example.system not in example.user
