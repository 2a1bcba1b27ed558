"""A patch and a batch for the memory at hand, before anything is trained.

The rule is nnU-Net's (Isensee et al. 2021): first as much context as fits, as wide in nanometres
along every axis as the crops allow, then as many patches.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from baselines.config import Config, ConfigError
from baselines.config.rules import SMALLEST_LEVEL, step_of
from baselines.training.memory import counted, measured
from evaluator.geometry import Shape

MOST = {2: (1, 512, 512), 3: (192, 192, 192)}  # more context than this is rarely used
BATCHES = {2: (4, 16), 3: (2, 8)}  # least, unless memory is short, and most
SHARE = 0.85  # of a GPU's memory; the rest is for gaps between what is in use
CPU_BYTES = 4_000_000_000  # a processor is short of time long before it is short of memory


@dataclass(frozen=True, slots=True)
class Plan:
    """patch: (Z, Y, X) voxels.  needed, budget: bytes.  measured: by updates, not by counting."""

    patch: Shape
    batch: int
    needed: int
    budget: int
    device: str
    measured: bool

    def applied(self, config: Config) -> Config:
        """The settings with this patch and batch, and with tiles to match."""
        z, y, x = self.patch
        # Planes are predicted in larger tiles: without gradients they are cheap.
        tile = self.patch if config.model.dims == 3 else (1, 2 * y, 2 * x)
        return dataclasses.replace(
            sized(config, self.patch, self.batch),
            prediction=dataclasses.replace(
                config.prediction, tile=tile, overlap=(z // 4, tile[1] // 4, tile[2] // 4),
                block=(2 * z if config.model.dims == 3 else 16, 2 * tile[1], 2 * tile[2]),
            ),
        )  # fmt: skip

    def text(self) -> str:
        """One sentence."""
        how = "measured" if self.measured else "counted"
        return (
            f"patch {list(self.patch)}, batch {self.batch}: {self.needed / 1e9:.2f} GB of "
            f"{self.budget / 1e9:.2f} GB on {self.device} ({how})"
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def plan(config: Config, shapes: Sequence[Shape], *, device: torch.device, budget: int = 0) -> Plan:
    """The largest patch, and then batch, whose updates fit.

    config: with labels, kinds and voxel size filled in.  shapes: of the boxes to train on; patches
    are no larger than the middling one, but for being multiples, nor than MOST.  budget: bytes; 0:
    SHARE of a GPU's memory, CPU_BYTES on a processor.  On a GPU without a given budget updates are
    tried, else their memory is counted.  Raises ConfigError if not even the smallest patch fits.
    """
    trying = device.type == "cuda" and not budget
    budget = budget or budget_of(device)

    @functools.cache
    def needed(patch: Shape, batch: int) -> int | None:
        asked = sized(config, patch, batch)
        return measured(asked, device) if trying else counted(asked)

    def fits(patch: Shape, batch: int) -> bool:
        found = needed(patch, batch)
        return found is not None and found <= budget

    patches = growing(config, shapes)
    least, most = BATCHES[config.model.dims]
    if not fits(patches[0], 1):
        raise ConfigError(
            f"not even one patch of {list(patches[0])} fits into {budget / 1e9:g} GB: take a "
            "smaller model.width, fewer model.levels or data.labels, or a device with more memory."
        )
    patch = patches[last(lambda k: fits(patches[k], least), len(patches))]
    batch = 1 + last(lambda k: fits(patch, 1 + k), most)
    return Plan(patch, batch, needed(patch, batch) or 0, budget, device.type, trying)


def budget_of(device: torch.device) -> int:
    """Bytes that a training may take."""
    if device.type != "cuda":
        return CPU_BYTES
    return int(SHARE * torch.cuda.get_device_properties(device).total_memory)


def sized(config: Config, patch: Shape, batch: int) -> Config:
    """The settings with another patch and batch, which goes through in one part."""
    training = dataclasses.replace(config.training, patch=patch, batch=batch, accumulate=1)
    return dataclasses.replace(config, training=training)


def last(holds: Callable[[int], bool], count: int) -> int:
    """The last of 0, 1, … count - 1 for which something holds that stops holding somewhere.

    0 is taken to hold.
    """
    low, high = 0, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def growing(config: Config, shapes: Sequence[Shape]) -> list[Shape]:
    """Patches from the smallest of use to the largest; what sees least nanometres grows."""
    steps, limit = _steps(config, shapes)
    size = [min(SMALLEST_LEVEL * step, most) for step, most in zip(steps, limit, strict=True)]
    patches = []
    while True:
        z, y, x = size
        patches.append((z, y, x))
        axes = [a for a in range(3) if size[a] + steps[a] <= limit[a]]
        if not axes:
            return patches
        axis = min(axes, key=lambda a: size[a] * config.data.voxel_size[a])
        size[axis] += steps[axis]


def _steps(config: Config, shapes: Sequence[Shape]) -> tuple[Shape, Shape]:
    """What patches are multiples of, and the largest that is of use: (Z, Y, X) each."""
    middling = [int(statistics.median(shape[axis] for shape in shapes)) for axis in range(3)]
    step, step_z = step_of(config), 1
    if config.model.dims == 3:
        # Z is halved as often as the planes there are allow.
        halvings = range(config.model.levels - 1, 0, -1)
        step_z = next((2**k for k in halvings if SMALLEST_LEVEL * 2**k <= middling[0]), 1)
    z, y, x = (min(n, most) for n, most in zip(middling, MOST[config.model.dims], strict=True))
    least = SMALLEST_LEVEL * step
    limit = (_up(z, step_z), max(least, _up(y, step)), max(least, _up(x, step)))
    return (step_z, step, step), limit


def _up(size: int, step: int) -> int:
    """The next multiple."""
    return -(-size // step) * step
