"""Which advantage learns faster: RRPO on tables of scores, with rewards by a rule instead of a reader.

    .venv/bin/python -m benchmarks.rrpo --seeds 5

A third of the questions cannot be answered whatever is read, a third always, and a third exactly when a given pair of the six
candidates comes first, as few real questions hang on the choice. "found" is the first step after which the policy's greedy list
has the pair for each of these; "moved" is how far the scores of the others, where nothing is to be learned, have wandered by
then (largest difference from the start, logits). The output is Markdown for docs/rrpo.md.
"""

import statistics
from collections.abc import Sequence
from typing import Annotated

import torch  # noqa: TID253 - this program is about nothing else
import typer

from dynamicrag_cli.adapters.rrpo.scorer import Policy
from dynamicrag_cli.adapters.rrpo.trainer import Settings, Trainer
from dynamicrag_cli.core.advantages import ADVANTAGES
from dynamicrag_cli.core.policy import Bounds, chosen, most_likely
from dynamicrag_cli.core.records import Candidate, RetrievedQuestion

KINDS = ("hopeless", "easy", "pair")
BEST, WORST = 3.0, -1.0
PAIR = {1, 4}
N_DOCS = 6


class Table(torch.nn.Module):  # type: ignore[misc]
    """One score per question and candidate; the reference likes half of the pair if it is `informed`."""

    def __init__(self, n_questions: int, *, informed: bool) -> None:
        super().__init__()
        start = torch.zeros(n_questions, N_DOCS)
        start[:, min(PAIR)] = float(informed)
        self.values = torch.nn.Parameter(start)

    def forward(self, records: Sequence[RetrievedQuestion]) -> list[torch.Tensor]:
        """One tensor (n_docs,) per record."""
        return [self.values[int(record.id)] for record in records]


def _reward(record: RetrievedQuestion, read: tuple[str, ...]) -> float:
    right = {"hopeless": False, "easy": True, "pair": {int(name) for name in read[:2]} == PAIR}[record.question]
    return BEST if right else WORST


def _run(advantage: str, seed: int, n: int, steps: int, *, informed: bool) -> tuple[int | None, float]:
    """The step after which the pair was found everywhere (None: never) and how far the other scores had moved by then."""
    docs = [Candidate(id=str(place), title="", text="") for place in range(N_DOCS)]
    records = [RetrievedQuestion(id=str(i), question=KINDS[i % 3], answers=["yes"], docs=docs) for i in range(3 * n)]
    table = Table(len(records), informed=informed)
    start = table.values.detach().clone()
    settings = Settings(
        advantage=advantage, rollouts=4, batch_size=len(records), accumulation=1, epochs=steps, seed=seed,
        learning_rate=0.1, warmup=0.0, kl=0.01,
    )  # fmt: skip
    trainer = Trainer(Policy(table, Bounds(3, 3)), records, lambda asked: [_reward(*one) for one in asked], settings)
    trainer.score_reference()
    found = None
    while found is None and trainer.step < steps:
        trainer.train_step()
        scores = table.values.detach().double().numpy()
        lists = [chosen(most_likely(scores[i], [], trainer.policy.bounds)) for i in range(2, len(records), 3)]
        found = trainer.step if all({*one[:2]} == PAIR for one in lists) else None
    others = [i for i in range(len(records)) if i % 3 != KINDS.index("pair")]
    return found, float((table.values.detach() - start)[others].abs().max())


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Runs per row.")] = 5,
    questions: Annotated[int, typer.Option(min=1, help="Questions of each kind.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Most steps of a run.")] = 150,
) -> None:
    """Print the table."""
    print("| reference | advantage | found in runs | steps: median (range) | moved: median |\n|---|---|---|---|---|")
    for informed in (False, True):
        for advantage in ADVANTAGES:
            runs = [_run(advantage, seed, questions, steps, informed=informed) for seed in range(seeds)]
            found = [step for step, _ in runs if step is not None]
            shown = f"{statistics.median(found):.0f} ({min(found)} to {max(found)})" if found else "–"
            moved = statistics.median(distance for _, distance in runs)
            name = "knows half" if informed else "knows nothing"
            print(f"| {name} | `{advantage}` | {len(found)} of {seeds} | {shown} | {moved:.2f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
