"""Networks as functions from raw to probabilities: one, several, mirrored, with doubt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.models import Network

MIRRORED: dict[str, tuple[tuple[int, ...], ...]] = {  # axes of (N, C, Z, Y, X) that are turned
    "none": ((),),
    "plane": ((), (3,), (4,), (3, 4)),
    "all": ((), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)),
}


def predictor_of(
    *models: nn.Module, device: torch.device, bf16: bool, mirror: str = "none",
    uncertain: tuple[int, ...] = (),
) -> Committee:  # fmt: skip
    """A function from normalised raw (N, 1, Z, Y, X) to probabilities (N, C, Z, Y, X) on a device.

    Several models and mirrored tiles are averaged.  uncertain: channels whose standard deviation
    over them is added behind the C, times 2, so that it lies in 0 .. 1: 1/2 is the most there can
    be.  In eight bits, variances would be too small to be told apart.

    On a CPU, tiles of networks that see planes go through one by one: what is computed of several
    at once fits neither its caches nor the memory that is kept from one to the next, and takes up
    to twice as long.
    """
    planar = all(isinstance(model, Network) and model.dims == 2 for model in models)
    return Committee(
        tuple(model.eval() for model in models), device, bf16, MIRRORED[mirror], uncertain,
        one_by_one=planar and device.type == "cpu",
    )  # fmt: skip


@dataclass(frozen=True)
class Committee:
    """Models that look at each tile, turned every way, and agree on a mean."""

    models: tuple[nn.Module, ...]
    device: torch.device
    bf16: bool
    turns: tuple[tuple[int, ...], ...]
    uncertain: tuple[int, ...]
    one_by_one: bool

    def __call__(self, raw: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.bf16
        ):  # fmt: skip
            if self.device.type == "cuda" and not raw.is_cuda:
                # From other memory a copy waits for all that the GPU was given before.
                raw = raw.pin_memory()
            raw = raw.to(self.device, non_blocking=True)
            if self.one_by_one:
                return torch.cat([self._agreed(tile) for tile in torch.split(raw, 1)])
            return self._agreed(raw)

    def _agreed(self, raw: Tensor) -> Tensor:
        return self._with_doubt(raw) if self.uncertain else _mean(self.votes(raw))

    def votes(self, raw: Tensor) -> Iterator[Tensor]:
        """Probabilities of every model for the tile turned every way, turned back."""
        for model in self.models:
            for axes in self.turns:
                logits: Tensor = model(raw.flip(axes) if axes else raw)
                probability = logits.float().sigmoid()
                yield probability.flip(axes) if axes else probability

    def _with_doubt(self, raw: Tensor) -> Tensor:
        """The mean and, by Welford's running sums, twice the deviation of some channels."""
        channels = list(self.uncertain)
        for n, vote in enumerate(self.votes(raw), start=1):
            if n == 1:
                mean, squares = vote.clone(), torch.zeros_like(vote[:, channels])
                continue
            before = vote[:, channels] - mean[:, channels]
            mean += (vote - mean) / n
            squares += before * (vote[:, channels] - mean[:, channels])
        return torch.cat([mean, (4 * squares / n).clamp(0, 1).sqrt()], dim=1)


def _mean(votes: Iterator[Tensor]) -> Tensor:
    total, n = next(votes), 1
    for vote in votes:
        total, n = total + vote, n + 1
    return total / n if n > 1 else total
