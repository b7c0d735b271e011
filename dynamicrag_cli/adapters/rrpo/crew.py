"""Several processes that train one policy: each takes its share of the questions, gradients are summed.

Started by `accelerate launch` or `torchrun`; one process alone does nothing of this. *Untested on GPUs.*
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Crew:
    """This process among `size` of them; `rank` 0 writes files and speaks."""

    def __init__(self, *, cpu: bool = False) -> None:
        self.rank, self.size = 0, int(os.environ.get("WORLD_SIZE", "1"))
        if self.size > 1:
            from accelerate import PartialState

            self.rank = int(PartialState(cpu=cpu).process_index)

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part."""
        return list(items[self.rank :: self.size])

    def gather(self, items: list[T]) -> list[T]:
        """The items of all processes, in order of rank."""
        if self.size == 1:
            return items
        from accelerate.utils import gather_object

        return list(gather_object(items))

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Make every gradient the sum over the processes; each has divided by the size of the whole batch."""
        if self.size == 1:
            return
        from accelerate.utils import reduce

        for parameter in (parameter for parameter in parameters if parameter.numel()):
            own: Any = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
            parameter.grad = reduce(own, reduction="sum")

    def wait(self) -> None:
        """Wait for all others."""
        if self.size > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()
