"""How far a training is, and what it has not told yet: both are kept, to go on exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Standing:
    """How far a training is.  seconds: of wall time, over all sessions.

    stale: validations without gain.  falls: of the learning rate, for lack of gain; halvings: of
    it, after losses that were not finite.  parts: of a batch.
    """

    iteration: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    best: float = -1.0
    stale: int = 0
    falls: int = 0
    halvings: int = 0
    parts: int = 1
    validation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Due:
    """What has to be done after an iteration."""

    telling: bool
    validating: bool
    saving: bool
    stopping: bool

    @property
    def anything(self) -> bool:
        """Whether there is something to do, for which the losses must be known."""
        return self.telling or self.validating or self.saving or self.stopping


@dataclass
class Untold:
    """What has not been told yet: losses, voxels of masks (3, L), and where the time went."""

    losses: list[Tensor] = field(default_factory=list)
    counts: Tensor | None = None
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, loss: Tensor, counts: Tensor | None) -> None:
        self.losses.append(loss)
        if counts is not None:
            self.counts = counts if self.counts is None else self.counts + counts

    def sound(self) -> bool:
        """Whether all losses are finite.  A GPU is waited for."""
        return not self.losses or bool(torch.stack(self.losses).isfinite().all())

    def dice(self, labels: Sequence[str]) -> dict[str, float]:
        """Of the masks of the patches, per label that somebody annotated in them."""
        if self.counts is None:
            return {}
        found, invented, missed = self.counts.tolist()
        sums = [2 * f + i + m for f, i, m in zip(found, invented, missed, strict=True)]
        return {
            label: round(2 * f / total, 5)
            for label, f, total in zip(labels, found, sums, strict=True) if total
        }  # fmt: skip


def on_cpu(held: Any) -> Any:
    """A copy in the machine's memory; containers and plain values stay what they are."""
    if isinstance(held, Tensor):
        return held.detach().cpu().clone()
    if isinstance(held, dict):
        return {key: on_cpu(value) for key, value in held.items()}
    if isinstance(held, list | tuple):
        return type(held)(on_cpu(value) for value in held)
    return held
