"""RRPO's loop: draw lists, ask the reader about their prefixes, compare with the reference, take a step.

`docs/rrpo.md` has the formulas. Whatever is random depends on (seed, step, question id, rollout), so a run that goes on from a
checkpoint ends with the weights of one that was never interrupted.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dynamicrag_cli.adapters.rrpo.crew import Crew
from dynamicrag_cli.adapters.rrpo.objective import clipped, cosine, divergence, log_probabilities
from dynamicrag_cli.adapters.rrpo.scorer import Policy
from dynamicrag_cli.core import policy as lists
from dynamicrag_cli.core.advantages import ADVANTAGES, Values, Window, prefix_lengths, utilities
from dynamicrag_cli.core.errors import EngineError, UsageError
from dynamicrag_cli.core.records import RetrievedQuestion
from dynamicrag_cli.core.splits import generator

# Rewards of (question, ordered passage ids), None where the reader failed.
Rewarder = Callable[[Sequence[tuple[RetrievedQuestion, tuple[str, ...]]]], list[float | None]]
# A line of the curve; None where nothing of a step is known.
Line = dict[str, float | None]
Progress = Callable[[Line], None]


@dataclass(frozen=True)
class Settings:
    """How to train; `docs/rrpo.md` says what each symbol does.

    Attributes:
        advantage: `difference` or `paper`.
        anchor: What the clipped ratio is over: `previous` (the policy that drew) or `reference` (the paper's).
        rollouts: Lists drawn per question and step.
        batch_size: Questions per forward pass with gradients.
        accumulation: Forward passes per step, so that batch_size x accumulation questions make a step.
        updates: Optimiser steps on the lists of one step.
        epochs: Passes over the questions.
        max_steps: Most steps, whatever `epochs` says.
        learning_rate: Peak, of the cross-encoder.
        stop_learning_rate: Peak, of the STOP scores.
        warmup: Share of the steps over which the rates rise.
        clip: PPO's epsilon; the ratio leaves 1 only with several `updates` or the anchor `reference`.
        kl: Weight of the divergence from the reference.
        gamma: Discount.
        gae_lambda: GAE's lambda.
        window: Advantages by which new ones are normalised.
        passage_cost: c, taken from the reward per passage read.
        seed: Of every random choice.
    """

    advantage: str = "difference"
    anchor: str = "previous"
    rollouts: int = 4
    batch_size: int = 8
    accumulation: int = 4
    updates: int = 1
    epochs: float = 2.0
    max_steps: int | None = None
    learning_rate: float = 2e-5
    stop_learning_rate: float = 0.1
    warmup: float = 0.1
    clip: float = 0.2
    kl: float = 0.1
    gamma: float = 0.99
    gae_lambda: float = 0.95
    window: int = 1024
    passage_cost: float = 0.0
    seed: int = 0


@dataclass
class Episode:
    """One drawn list: its actions and, per action, log-probabilities and advantages; per step of the list, utilities."""

    index: int
    actions: list[int]
    previous: Values
    reference: Values
    utility: Values = field(default_factory=lambda: np.zeros(0))
    advantages: Values = field(default_factory=lambda: np.zeros(0))


class Trainer:
    """Trains `policy` on `records`, which have candidates; the weights it comes with are the reference."""

    def __init__(
        self,
        policy: Policy,
        records: Sequence[RetrievedQuestion],
        rewards: Rewarder,
        settings: Settings,
        crew: Crew | None = None,
    ) -> None:
        self.policy, self.records, self.rewards, self.settings = policy, records, rewards, settings
        self.crew = crew or Crew(cpu=True)
        self.per_step = settings.batch_size * settings.accumulation
        self.per_epoch = math.ceil(len(records) / self.per_step)
        self.total = min(math.ceil(self.per_epoch * settings.epochs), settings.max_steps or 10**9)
        groups: list[dict[str, Any]] = [{"params": list(policy.scorer.parameters()), "peak": settings.learning_rate}]
        if len(policy.stop):
            groups.append({"params": [policy.stop], "peak": settings.stop_learning_rate, "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        self.window = Window(settings.window)
        self.step = 0
        self.reference: dict[int, Values] = {}  # scores of the questions that will be trained on
        self.reference_stop = self._stops()
        self.baselines: dict[int, Values] = {}

    def _stops(self) -> Values:
        values: Values = self.policy.stops().detach().cpu().double().numpy()
        return values

    @torch.no_grad()
    def _scores(self, indices: Sequence[int]) -> dict[int, Values]:
        found: dict[int, Values] = {}
        for chunk in _chunks(indices, self.settings.batch_size):
            values = self.policy.scores([self.records[index] for index in chunk])
            found.update({i: v.cpu().double().numpy() for i, v in zip(chunk, values, strict=True)})
        return found

    def _check_scores(self, found: dict[int, Values]) -> None:
        """In all processes alike, lest one ends and the others wait for it."""
        if not all(self.crew.gather([bool(np.isfinite(scores).all()) for scores in found.values()])):
            raise self._not_finite("score")

    def _not_finite(self, what: str) -> EngineError:
        return EngineError(f"a {what} of step {self.step + 1} is not finite; lower --learning-rate, or leave --bf16 away")

    def score_reference(self, on_scored: Callable[[int], None] | None = None) -> None:
        """Score the candidates with the weights as they are now: from here on they are the reference.

        `on_scored` is called with numbers of questions of this process as they are done.
        """
        own: dict[int, Values] = {}
        for chunk in _chunks(self.crew.share(self.questions()), self.settings.batch_size):
            own.update(self._scores(chunk))
            if on_scored is not None:
                on_scored(len(chunk))
        self._check_scores(own)
        self.reference = dict(sorted(self.crew.gather(list(own.items()))))
        self.policy.balance([*self.reference.values()])
        self.reference_stop = self._stops()

    def run(self, on_step: Progress) -> None:
        """Train until the last step; `on_step` gets the line of the curve after each."""
        if not self.reference:
            self.score_reference()
        while self.step < self.total:
            on_step(self.train_step())

    def questions(self) -> list[int]:
        """The questions that some step takes: all, unless the steps end within the first pass."""
        return sorted(self._order(0)[: self.total * self.per_step])

    def _order(self, epoch: int) -> list[int]:
        order = list(range(len(self.records)))
        generator(self.settings.seed, "epoch", epoch).shuffle(order)
        return order

    def _batch(self) -> list[int]:
        epoch, place = divmod(self.step, self.per_epoch)
        return self._order(epoch)[place * self.per_step : (place + 1) * self.per_step]

    def train_step(self) -> Line:
        """One batch of questions: draw, reward, update. Returns the line of the curve."""
        started = time.monotonic()
        batch = self._batch()
        indices = self.crew.share(batch)
        episodes = self._draw(indices)
        n_unknown = self._reward(episodes)
        equal = self._all_equal(episodes)
        if equal:
            for episode in episodes:
                episode.advantages = episode.advantages * 0.0  # NaN stays
        raw = self.crew.gather([value for episode in episodes for value in episode.advantages.tolist()])
        if not equal:
            self.window.add(raw)
            for episode in episodes:
                episode.advantages = self.window.normalise(episode.advantages)
        n_actions = sum(map(math.isfinite, raw))
        self.policy.zero_grad()
        sums = np.zeros(3)
        for update in range(self.settings.updates if n_actions else 0):
            sums = self._update(indices, episodes, n_actions, update)
        self.step += 1
        line = self._line(episodes, raw, np.sum(self.crew.gather([sums]), axis=0), sum(self.crew.gather([n_unknown])))
        return {**line, "seconds": round(time.monotonic() - started, 3)}

    def _draw(self, indices: Sequence[int]) -> list[Episode]:
        bounds, stops = self.policy.bounds, self._stops()
        made, table = [], self._scores(indices)
        self._check_scores(table)
        for index, scores in table.items():
            for rollout in range(self.settings.rollouts):
                key = f"{self.settings.seed}\x1f{self.step}\x1f{self.records[index].id}\x1f{rollout}"
                rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:16], "big"))
                actions = lists.draw(scores, stops, bounds, rng)
                now = lists.log_probabilities(scores, stops, actions, bounds)
                before = lists.log_probabilities(self.reference[index], self.reference_stop, actions, bounds)
                made.append(Episode(index, actions, now, before))
        return made

    def _reward(self, episodes: Sequence[Episode]) -> int:
        """Fill in utilities and raw advantages, from one call of the reader; returns how many prefixes had no reward."""
        bounds = self.policy.bounds
        new = dict.fromkeys(episode.index for episode in episodes if episode.index not in self.baselines)
        greedy = {index: lists.most_likely(self.reference[index], self.reference_stop, bounds) for index in new}
        wanted = [(episode.index, lists.chosen(episode.actions)) for episode in episodes]
        wanted += [(index, lists.chosen(actions)) for index, actions in greedy.items()]
        asked = dict.fromkeys((index, taken[:n]) for index, taken in wanted for n in self._lengths(index, taken))
        names = [(self.records[i], tuple(self.records[i].docs[place].id for place in prefix)) for i, prefix in asked]
        values = self.rewards(names) if names else []
        known = {key: math.nan if value is None else value for key, value in zip(asked, values, strict=True)}
        for index, actions in greedy.items():
            self.baselines[index] = self._utility(index, lists.chosen(actions), known)
        for episode in episodes:
            episode.utility = self._utility(episode.index, lists.chosen(episode.actions), known)
            made = ADVANTAGES[self.settings.advantage](
                episode.utility, self.baselines[episode.index], self.settings.gamma, self.settings.gae_lambda
            )
            episode.advantages = made[: len(episode.actions)]
        for index in new:
            if not np.isfinite(self.baselines[index]).all():
                del self.baselines[index]  # asked again when the question comes again
        return sum(math.isnan(value) for value in known.values())

    def _all_equal(self, episodes: Sequence[Episode]) -> bool:
        """Whether all known utilities of a step are one number: no list is better than another, whatever the advantage says."""
        own = {value for e in episodes for value in (*e.utility, *self.baselines.get(e.index, ())) if math.isfinite(value)}
        return len({*self.crew.gather([*own])}) == 1

    def _lengths(self, index: int, taken: Sequence[int]) -> list[int]:
        return prefix_lengths(len(taken), self.policy.bounds.steps(len(self.records[index].docs)))

    def _utility(self, index: int, taken: tuple[int, ...], known: dict[tuple[int, tuple[int, ...]], float]) -> Values:
        lengths = self._lengths(index, taken)
        return utilities([known[index, taken[:n]] for n in lengths], lengths, self.settings.passage_cost)

    def _update(self, indices: Sequence[int], episodes: Sequence[Episode], n_actions: int, update: int) -> Values:
        """One optimiser step; returns the sums over actions of loss, divergence and clipped ones."""
        n_updates = self.total * self.settings.updates
        factor = cosine(self.step * self.settings.updates + update, n_updates, self.settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        self.optimizer.zero_grad()
        sums = np.zeros(3)
        for chunk in _chunks(indices, self.settings.batch_size):
            kept = {*chunk}
            sums += self._backward(chunk, [e for e in episodes if e.index in kept], n_actions)
        self.crew.sum_gradients(self.policy.parameters())
        if not torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0).isfinite():
            raise self._not_finite("gradient")
        self.optimizer.step()
        return sums

    def _backward(self, chunk: Sequence[int], episodes: Sequence[Episode], n_actions: int) -> Values:
        settings, stops = self.settings, self.policy.stops()
        tables = dict(zip(chunk, self.policy.scores([self.records[index] for index in chunk]), strict=True))
        losses, kls, n_clipped = [], [], 0
        for episode in episodes:
            scores = tables[episode.index]
            kept = torch.from_numpy(np.isfinite(episode.advantages)).to(scores.device)
            parts = (episode.advantages, episode.previous, episode.reference)
            advantages, previous, reference = (torch.from_numpy(p).to(scores)[kept] for p in parts)
            new = log_probabilities(scores, stops, episode.actions, self.policy.bounds)[kept]
            old = previous if settings.anchor == "previous" else reference
            kls.append(divergence(new, reference))
            losses.append(settings.kl * kls[-1] - clipped(new, old, advantages, settings.clip))
            n_clipped += int((((new - old).exp() - 1).abs() > settings.clip).sum())
        loss = torch.cat(losses).sum() / n_actions
        loss.backward()
        return np.array([loss.item() * n_actions, float(torch.cat(kls).sum().detach()), n_clipped])

    def _line(self, episodes: Sequence[Episode], raw: list[float], sums: Values, n_unknown: int) -> Line:
        cost, finite = self.settings.passage_cost, [value for value in raw if math.isfinite(value)]
        ends = [(e.utility[-1], len(lists.chosen(e.actions)), self._end(e.index)) for e in episodes if len(e.utility)]
        table = np.array(self.crew.gather(ends), dtype=np.float64).reshape(-1, 3)
        loss, kl, clips = (float(total) / len(finite) for total in sums) if finite else (None, None, None)
        return {
            "step": self.step,
            "epoch": round(self.step / self.per_epoch, 4),
            "loss": loss,
            "reward": _mean(table[:, 0] + cost * table[:, 1]),
            "utility": _mean(table[:, 0]),
            "reference": _mean(table[:, 2]),
            "kl": kl,
            "clipped": clips,
            "passages": _mean(table[:, 1]),
            "spread": float(np.std(finite)) if finite else None,
            "skipped": len(raw) - len(finite),
            "failed": n_unknown,
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
        }

    def _end(self, index: int) -> float:
        return float(self.baselines[index][-1]) if index in self.baselines else math.nan

    def save(self, folder: Path) -> None:
        """Write a checkpoint, the reference's scores among it; `trainer_state.json` comes last and says that it is whole."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "policy": self.policy.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "window": list(self.window.values),
            "reference": {index: torch.from_numpy(scores) for index, scores in self.reference.items()},
            "reference_stop": torch.from_numpy(self.reference_stop),
        }
        torch.save(state, folder / "state.pt")
        (folder / "trainer_state.json").write_text(json.dumps({"step": self.step}), encoding="utf-8")

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            UsageError: An earlier version wrote it.
        """
        state = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
        if "reference" not in state:
            raise UsageError(f"{folder}: an unfinished training of an earlier version; type --fresh to throw it away")
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.window = Window(self.settings.window, state["window"])
        self.reference = {index: scores.numpy() for index, scores in state["reference"].items()}
        self.reference_stop = state["reference_stop"].numpy()
        self.step = int(json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["step"])


def _mean(values: Values) -> float | None:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else None


def _chunks(items: Sequence[int], size: int) -> list[Sequence[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
