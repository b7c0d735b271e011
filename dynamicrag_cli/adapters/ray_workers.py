"""A function over chunks of records on the processes of a Ray cluster: results in the order of the chunks.

Ray starts a killed actor anew, on another machine if need be, and repeats what it had in hand; so a chunk is done once, or by a
second process after the first has died. That is sound because a stage's outcome depends on its records alone.
"""

import logging
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.core.errors import EngineError, UsageError

# How often a chunk is tried again after the process that had it died.
RETRIES = 3
# Chunks that are on their way or wait for an earlier one, per worker: enough to keep it busy, and bounded.
AHEAD = 2

# The stage's function in the making, and what it counts: shipped as one thing, so that both are about the same counters there.
Work = tuple[Callable[[], Callable[[list[Any]], Sequence[Any]]], Tally]


class _Worker:
    """One process with its own copy of the stage's models, loaded with its first chunk."""

    def __init__(self, work: Work, home: str) -> None:
        self.prepare, self.tally = work
        self.home = home
        self.function: Callable[[list[Any]], Sequence[Any]] | None = None

    def ready(self) -> None:
        """Return as soon as the process stands."""

    def run(self, records: list[Any]) -> tuple[list[Any], Tally]:
        """The outcomes of a chunk, and what was counted meanwhile."""
        if self.function is None:
            os.chdir(self.home)
            self.function = self.prepare()
        self.tally.wanted = self.tally.known = 0
        return list(self.function(records)), self.tally


class RayWorkers:
    """`n_workers` processes with `gpus` GPUs each: of the cluster at `address`, or of one of its own.

    Raises:
        EngineError: No cluster answers at the address.
        UsageError: The cluster has fewer GPUs than one worker needs.
    """

    def __init__(self, n_workers: int, address: str | None, gpus: float) -> None:
        self.n_workers, self.gpus = n_workers, gpus
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        address = address or os.environ.get("RAY_ADDRESS")
        local = {"num_cpus": max(n_workers, os.cpu_count() or 1), "include_dashboard": False}
        # Ray takes SIGTERM for itself.
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=address or "local", logging_level=logging.ERROR, **({} if address else local))
        except Exception as error:  # Ray raises bare ones
            raise EngineError(f"no Ray cluster at {address or 'this machine'}: {error}; see docs/cluster.md") from error
        finally:
            signal.signal(signal.SIGTERM, handler)
        found = ray.cluster_resources().get("GPU", 0)
        if found < gpus:
            ray.shutdown()
            raise UsageError(f"--worker-gpus {gpus:g}, but the Ray cluster has {found:g} GPUs")

    def __enter__(self) -> "RayWorkers":
        return self

    def __exit__(self, *_details: object) -> None:
        # The workers belong to this connection and end with it.
        ray.shutdown()

    def map(self, work: Work, chunks: Iterable[list[Any]]) -> Iterator[Sequence[Any]]:
        """The outcomes of every chunk, in order; what the workers counted is added to the tally here.

        Raises:
            Exception: Whatever the function raised in a worker.
            EngineError: The processes that had a chunk died, one after the other.
        """
        kind = ray.remote(_Worker).options(
            num_cpus=1, num_gpus=self.gpus, max_restarts=-1, max_task_retries=RETRIES, max_concurrency=1
        )
        shipped = ray.put(work)
        workers = [kind.remote(shipped, str(os.getcwd())) for _ in range(self.n_workers)]  # noqa: PTH109
        # A worker takes part as soon as the cluster has room for it.
        busy: dict[Any, tuple[int | None, Any]] = {worker.ready.remote(): (None, worker) for worker in workers}
        idle: deque[Any] = deque()
        done: dict[int, Sequence[Any]] = {}
        waiting, n_given, n_out, ended = iter(chunks), 0, 0, False
        while not ended or n_out < n_given:
            while idle and not ended and n_given - n_out < AHEAD * self.n_workers:
                records = next(waiting, None)
                if records is None:
                    ended = True
                elif records:
                    worker = idle.popleft()
                    busy[worker.run.remote(records)] = (n_given, worker)
                else:
                    done[n_given] = ()
                n_given += records is not None
            if n_out in done:
                yield done.pop(n_out)
                n_out += 1
                continue
            if ended and n_out == n_given:
                return
            # A second at a time, so that Ctrl-C is heard.
            for ref in ray.wait([*busy], timeout=1)[0]:
                place, worker = busy.pop(ref)
                idle.append(worker)
                made = _result(ref)
                if place is not None:
                    done[place], tally = made
                    work[1].add(tally)

    def together(self, share: Callable[[int, int], Callable[[list[Any]], Sequence[Any]]]) -> Callable[[list[Any]], list[Any]]:
        """A function that hands the same records to all workers at once and returns the outcomes of each, in order.

        Worker i of n loads `share(i, n)` and keeps it. Workers stand on as many machines as there are, and wait for no free CPU:
        without one of them there is no result.

        Raises:
            Exception: As `map`.
        """
        kind = ray.remote(_Worker).options(num_cpus=0, scheduling_strategy="SPREAD", max_restarts=-1, max_task_retries=RETRIES)
        parts = [(partial(share, number, self.n_workers), Tally()) for number in range(self.n_workers)]
        workers = [kind.remote(part, str(os.getcwd())) for part in parts]  # noqa: PTH109

        def asked(records: list[Any]) -> list[Any]:
            sent = ray.put(records)
            return [_result(ref)[0] for ref in [worker.run.remote(sent) for worker in workers]]

        return asked


def _result(ref: Any) -> Any:
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else EngineError(str(error))) from None
    except RayError as error:
        raise EngineError(
            f"the worker that had a chunk died, and so did those that tried it again (up to {RETRIES} times); out of memory? "
            f"See --workers and --chunk. What is finished is kept, and the same command goes on from there. Ray says: {error}"
        ) from None
