"""Several processes that train one network together, as `torchrun` starts them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The network with gradients that are averaged over all processes."""
        return DistributedDataParallel(model) if self.size > 1 else model

    def total(self, value: Tensor) -> Tensor:
        """The sum over all processes.  Gradients flow back to each."""
        if self.size == 1:
            return value
        total: Tensor = all_reduce(value)  # type: ignore[no-untyped-call]  # torch has no types
        return total

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of the processes; all hear the same."""
        return any(self.gathered(flag))

    def gathered(self, value: Any) -> list[Any]:
        """The value of each process, in order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


ALONE = Ranks()


@contextlib.contextmanager
def joined(device: torch.device) -> Generator[Ranks, None, None]:
    """This process among those of `torchrun`; alone without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
