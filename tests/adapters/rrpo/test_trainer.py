"""RRPO learns from a scripted reader, and goes on as if it had never been interrupted."""

import numpy as np
import pytest
import torch

from dynamicrag_cli.adapters.rrpo.scorer import Policy
from dynamicrag_cli.adapters.rrpo.trainer import Settings, Trainer
from dynamicrag_cli.core.engine import Completion
from dynamicrag_cli.core.errors import EngineError, UsageError
from dynamicrag_cli.core.policy import Bounds, chosen, most_likely
from tests.adapters.rrpo.tables import PAIR, Table, feedback, questions, read_by
from tests.builders import GOLD, ScriptedEngine, failing

BEST, WORST = 3.0, -1.0
FAST = {"learning_rate": 0.3, "stop_learning_rate": 0.3, "batch_size": 4, "accumulation": 1, "rollouts": 16, "kl": 0.001}


def trainer(bounds: Bounds, n: int = 4, names: str = "abcdef", ask=None, **changes) -> Trainer:
    settings = Settings(**{**FAST, "epochs": 80.0, **changes})
    return Trainer(Policy(Table(n, len(names)), bounds), questions(n, names), ask or feedback(), settings)


def greedy(made: Trainer) -> list[tuple[int, ...]]:
    scores = made.policy.scores(made.records)
    stops = made.policy.stops().detach().numpy()
    return [chosen(most_likely(s.detach().double().numpy(), stops, made.policy.bounds)) for s in scores]


def taken(made: Trainer) -> list[set[str]]:
    return [{"abcdef"[place] for place in places} for places in greedy(made)]


@pytest.mark.parametrize(("seed", "advantage"), [(0, "difference"), (1, "difference"), (2, "difference"), (0, "paper")])
def test_it_finds_the_pair_from_an_uninformed_start(seed: int, advantage: str) -> None:
    made, curve = trainer(Bounds(3, 3), seed=seed, advantage=advantage), []
    made.run(curve.append)
    chance = WORST + (BEST - WORST) / 15
    assert np.mean([line["reward"] for line in curve[:3]]) == pytest.approx(chance, abs=0.5)
    assert np.mean([line["reward"] for line in curve[-5:]]) >= WORST + 0.95 * (BEST - WORST)
    assert [{"abcdef"[place] for place in places[:2]} for places in greedy(made)] == [PAIR] * 4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_a_cost_it_stops_after_two(seed: int) -> None:
    made, curve = trainer(Bounds(0, 4), seed=seed, passage_cost=0.2, epochs=150.0), []
    made.run(curve.append)
    assert taken(made) == [PAIR] * 4
    assert np.mean([line["passages"] for line in curve[-5:]]) == pytest.approx(2, abs=0.2)
    assert np.mean([line["reward"] for line in curve[-5:]]) >= WORST + 0.95 * (BEST - WORST)


def test_the_first_line_of_the_curve_is_at_the_reference() -> None:
    made, curve = trainer(Bounds(0, 3), max_steps=1), []
    made.run(curve.append)
    (line,) = curve
    assert line["kl"] == pytest.approx(0, abs=1e-6)
    assert (line["step"], line["clipped"], line["failed"], line["skipped"], line["reference"]) == (1, 0, 0, 0, WORST)


def test_the_first_lists_have_all_lengths() -> None:
    made = trainer(Bounds(0, 4), rollouts=300)
    made.score_reference()
    lengths = [len(chosen(episode.actions)) for episode in made._draw([0, 1, 2, 3])]
    assert np.bincount(lengths) / len(lengths) == pytest.approx(0.2, abs=0.05)


def test_a_question_is_asked_once_in_one_call_and_its_baseline_is_kept() -> None:
    engine = ScriptedEngine(lambda request, _: GOLD)
    ask = feedback(engine)
    made = trainer(Bounds(2, 2), n=4, names="ab", ask=ask)
    made.run(lambda _: None)
    assert [len(call) for call in engine.calls] == [16]  # 4 questions x (a, ab, b, ba)
    assert len({request.key for request in engine.requests}) == 16
    assert all(options.temperature == 0 for options in engine.options)
    assert {index: values.tolist() for index, values in made.baselines.items()} == {key: [BEST, BEST] for key in range(4)}


@pytest.mark.parametrize("n_docs", [1, 2])
@pytest.mark.parametrize("bounds", [Bounds(3, 3), Bounds(0, 3), Bounds(2, 5)], ids=str)
def test_fewer_candidates_than_k(n_docs: int, bounds: Bounds) -> None:
    made = trainer(bounds, names="ab"[:n_docs], epochs=3.0)
    curve: list[dict[str, float]] = []
    made.run(curve.append)
    assert all(line["passages"] <= n_docs for line in curve)
    assert all(np.isfinite(list(line.values())).all() for line in curve)


@pytest.mark.parametrize("advantage", ["difference", "paper"])
def test_equal_rewards_teach_nothing(advantage: str) -> None:
    made = trainer(Bounds(3, 3), ask=feedback(ScriptedEngine(lambda *_: "unknown")), epochs=5.0, advantage=advantage, kl=0.0)
    with torch.no_grad():
        made.policy.scorer.values += torch.arange(6) / 10
    start = made.policy.scorer.values.clone()
    curve: list[dict[str, float]] = []
    made.run(curve.append)
    assert {line["spread"] for line in curve} == {0.0}
    decay = (1 - FAST["learning_rate"] * 0.01) ** 5  # of AdamW, which pulls weights towards 0 whatever the gradient
    assert (made.policy.scorer.values - start).abs().max() < (1 - decay) * start.abs().max() + 1e-6


@pytest.mark.parametrize("advantage", ["difference", "paper"])
def test_a_step_of_equal_rewards_among_others_changes_neither_policy_nor_window(advantage: str) -> None:
    made = trainer(Bounds(3, 3), ask=feedback(ScriptedEngine(lambda *_: "unknown")), max_steps=1, advantage=advantage, kl=0.0)
    made.window.add([1.0, 5.0])
    made.run(lambda _: None)
    assert made.policy.scorer.values.abs().max() == 0
    assert list(made.window.values) == [1.0, 5.0]


@pytest.mark.parametrize(("advantage", "spread"), [("difference", False), ("paper", True)])
def test_the_references_own_lists_have_no_advantage_but_in_the_papers_form_they_have(advantage: str, spread: bool) -> None:
    """A reference that is sure of its order draws its greedy list; that list has the pair second and a right answer."""
    made, curve = trainer(Bounds(2, 2), advantage=advantage, max_steps=1), []
    with torch.no_grad():
        made.policy.scorer.values += 100 * torch.tensor([0.0, 5.0, 0.0, 0.0, 4.0, 1.0])
    made.run(curve.append)
    assert curve[0]["reward"] == curve[0]["reference"] == BEST
    assert (curve[0]["spread"] > 0) == spread


@pytest.mark.parametrize("changes", [{"anchor": "reference"}, {"updates": 3}], ids=str)
def test_the_ratio_is_clipped_once_the_policy_has_left_what_it_is_over(changes) -> None:
    made, plain = trainer(Bounds(2, 2), epochs=5.0, **changes), trainer(Bounds(2, 2), epochs=5.0)
    for one, clips in ((made, True), (plain, False)):
        curve: list[dict[str, float]] = []
        one.run(curve.append)
        assert any(line["clipped"] > 0 for line in curve) == clips


def test_what_is_not_finite_ends_the_run() -> None:
    made = trainer(Bounds(2, 2))
    made.policy.scorer.values.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(EngineError, match="a gradient of step 1 is not finite"):
        made.run(lambda _: None)
    with torch.no_grad():
        made.policy.scorer.values[0, 0] = torch.nan
    with pytest.raises(EngineError, match="a score of step 1 is not finite"):
        made.train_step()


def test_only_questions_that_a_step_takes_are_scored_by_the_reference() -> None:
    made, scored = trainer(Bounds(2, 2), n=8, batch_size=1, accumulation=2, max_steps=2), []
    made.score_reference(scored.append)
    assert (scored, len(made.reference)) == ([1] * 4, 4)
    made.run(lambda _: None)
    assert made.step == 2


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path) -> None:
    made = trainer(Bounds(2, 2))
    made.save(tmp_path)
    state = torch.load(tmp_path / "state.pt")
    torch.save({key: value for key, value in state.items() if not key.startswith("reference")}, tmp_path / "state.pt")
    with pytest.raises(UsageError, match="--fresh"):
        made.restore(tmp_path)


def test_a_reader_that_fails_is_counted_and_never_a_reward_of_0() -> None:
    made = trainer(Bounds(2, 2), ask=feedback(failing()), epochs=2.0)
    curve: list[dict[str, float]] = []
    made.run(curve.append)
    assert all(line["failed"] > 0 and line["skipped"] == 4 * 16 * 2 for line in curve)
    unknown = ("reward", "utility", "reference", "loss", "kl", "clipped", "spread")
    assert {line[key] for line in curve for key in unknown} == {None}
    assert made.policy.scorer.values.abs().max() == 0
    assert made.baselines == {}


def test_steps_after_a_failed_prompt_still_count() -> None:
    def answers(request, _):
        return Completion("", "error", error="boom") if read_by(request) == ["a"] else GOLD

    made = trainer(Bounds(2, 2), names="ab", ask=feedback(ScriptedEngine(answers)))
    episodes = made._draw([0]) if made.reference else (made.score_reference(), made._draw([0]))[1]
    made._reward(episodes)
    assert {episode.actions[0] for episode in episodes} == {0, 1}
    for episode in episodes:
        # The reference reads "a" first, so its first reward is unknown too.
        assert np.isfinite(episode.advantages).tolist() == [False, True]


@pytest.mark.parametrize("bounds", [Bounds(3, 3), Bounds(0, 3)], ids=str)
def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, bounds: Bounds) -> None:
    whole = trainer(bounds, epochs=6.0)
    whole.run(lambda _: None)

    def interrupt(line: dict[str, float]) -> None:
        first.save(tmp_path / "checkpoint-3") if line["step"] == 3 else None
        if line["step"] == 4:
            raise KeyboardInterrupt

    first = trainer(bounds, epochs=6.0)
    with pytest.raises(KeyboardInterrupt):
        first.run(interrupt)
    second = trainer(bounds, epochs=6.0)
    second.score_reference = None  # the checkpoint has the scores
    second.restore(tmp_path / "checkpoint-3")
    assert second.step == 3
    second.run(lambda _: None)
    for one, other in zip(whole.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(one, other)
    assert whole.step == second.step == 6


def test_accumulation_makes_the_same_step() -> None:
    made = [trainer(Bounds(0, 3), batch_size=size, accumulation=4 // size, epochs=2.0) for size in (1, 4)]
    for one in made:
        one.run(lambda _: None)
    assert torch.allclose(made[0].policy.scorer.values, made[1].policy.scorer.values, atol=1e-5)


def test_seeds_differ_and_repeat() -> None:
    made = [trainer(Bounds(2, 2), seed=seed, epochs=2.0) for seed in (0, 0, 1)]
    for one in made:
        one.run(lambda _: None)
    first, again, other = (one.policy.scorer.values for one in made)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_clip_on_the_reference_keeps_the_policy_near_it() -> None:
    """The paper's ratio: a list that is likelier by more than the clip gets no further pull."""
    near, far = (trainer(Bounds(2, 2), anchor=anchor, epochs=40.0, learning_rate=0.05) for anchor in ("reference", "previous"))
    for one in (near, far):
        one.run(lambda _: None)
    assert near.policy.scorer.values.abs().max() < 0.5 * far.policy.scorer.values.abs().max()


def test_more_updates_on_the_same_lists_ask_no_more() -> None:
    ask, more = feedback(), feedback()
    trainer(Bounds(2, 2), ask=ask, epochs=1.0).run(lambda _: None)
    made = trainer(Bounds(2, 2), ask=more, epochs=1.0, updates=3)
    curve: list[dict[str, float]] = []
    made.run(curve.append)
    assert more.n_asked == ask.n_asked
    assert curve[0]["kl"] > 0  # the last of them starts away from the reference
