"""Several processes, one training: who they are, what they tell each other, and how they share an error.

Every process (rank) trains on its share of each batch, on a device of its own. torchrun, or `train --gpus`, starts them
and says in the environment which is which. Rank 0 alone writes files and speaks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist
from torch import Tensor

from training.errors import LostRank, OtherRankFailed, UserError
from training.rendezvous import connect
from training.stopping import outlast_other_ranks

Result = TypeVar("Result")

# Half an hour, PyTorch's own limit, is soon over while one rank decodes a large folder and the others wait.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class World:
    """All processes of a training, seen from one of them. Alone by default; its methods then cost nothing.

    What involves other ranks must be called by all of them, in the same order.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among the ranks of this machine: which GPU is whose
    patient: dist.ProcessGroup | None = None  # all ranks again, which wait `PATIENCE` for each other

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """This rank's part of `count` things: all ranks' parts are disjoint, in order, and differ by one at most."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def on_main(self, function: Callable[[], Result], slow: bool = False) -> Result:
        """What rank 0's call returned, on every rank; the others don't call. `slow`: it may take hours.

        A UserError there ends all ranks: raised on rank 0, and as OtherRankFailed on the others.
        """
        if self.size == 1:
            return function()
        told: list[Result | UserError | None] = [None]
        if self.is_main:
            try:
                told = [function()]
            except UserError as error:
                outlast_other_ranks()
                told = [error]
        dist.broadcast_object_list(told, src=0, group=self.patient if slow else None)
        (outcome,) = told
        if isinstance(outcome, UserError):
            raise outcome if self.is_main else OtherRankFailed(outcome.status)
        return outcome  # type: ignore[return-value]

    def on_each(self, function: Callable[[], Result], slow: bool = False) -> Result:
        """What this rank's own call returned, once it has succeeded on all of them. `slow`: it may take hours.

        Of the ranks that raise a UserError the lowest raises it, all others OtherRankFailed.
        """
        if self.size == 1:
            return function()
        outcome: Result | UserError
        try:
            outcome = function()
        except UserError as error:
            outlast_other_ranks()
            outcome = error
        statuses = self.gather(outcome.status if isinstance(outcome, UserError) else 0, slow)
        failed = [rank for rank, status in enumerate(statuses) if status]
        if isinstance(outcome, UserError) and failed[0] == self.rank:
            raise outcome
        if failed:
            raise OtherRankFailed(statuses[failed[0]])
        return outcome  # type: ignore[return-value]

    def gather(self, value: Result, slow: bool = False) -> list[Result]:
        """Every rank's value (anything that can be pickled), by rank, on every rank. `slow`: one may take hours."""
        if self.size == 1:
            return [value]
        values: list[Result] = [value] * self.size
        dist.all_gather_object(values, value, group=self.patient if slow else None)
        return values

    def sum(self, values: Tensor) -> Tensor:
        """The sum over ranks, on every rank; waits for the device."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """The mean over ranks, on every rank; waits for the device."""
        return self.sum(values) / self.size


@contextmanager
def join() -> Iterator[World]:
    """The world that the environment tells of (torchrun's RANK, WORLD_SIZE, …), joined for as long as the block runs.

    Raises LostRank where another rank disappears in the middle, since what it was to send never comes.
    """
    rank, size, local_rank = (int(os.environ.get(name, alone)) for name, alone in _VARIABLES)
    if size == 1:
        yield World()
        return
    try:
        connect()
        patient = dist.new_group(backend="gloo", timeout=PATIENCE)
        assert isinstance(patient, dist.ProcessGroup), "every rank is in it"
        yield World(rank, size, local_rank, patient)
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        outlast_other_ranks()
        raise LostRank(rank) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


_VARIABLES = (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))


def _is_lost_connection(error: RuntimeError) -> bool:
    # gloo has no exception of its own: its RuntimeErrors name the source file they come from.
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)
