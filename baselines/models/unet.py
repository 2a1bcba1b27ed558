"""A U-Net for planes, planes with their neighbours (2.5D), or volumes.

Raw (N, 1, Z + 2 context, Y, X) in, logits (N, channels, Z, Y, X) out, for all three: the planar
network folds Z into the batch, so a volume of planes is a batch of images.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from baselines.config import ConfigError, ModelConfig
from baselines.models.blocks import (
    CONV,
    Factors,
    PlainBlock,
    ResidualBlock,
    Up,
    fold_planes,
    pack,
    spread,
    unfold_planes,
)
from baselines.models.network import Network
from evaluator.geometry import Shape

LEAST = 4  # voxels that an axis keeps on the coarsest level
DEPTHS = (1, 3, 4, 6)  # residual blocks of the first levels; the last number goes on


class UNet(Network):
    """Down through levels of half the size, up again with what each level saw on the way.

    channels: of the logits.  voxel_size: nm (Z, Y, X).  patch: voxels (Z, Y, X) that training uses;
    an axis that it makes too short is not halved.
    """

    def __init__(
        self, config: ModelConfig, *, channels: int, voxel_size: tuple[float, ...],
        patch: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        dims = config.dims
        super().__init__(dims=dims, channels=channels, context=config.context)
        self.stem, self.deep = config.stem, config.deep_supervision
        stems = (1,) * (dims - 2) + (config.stem,) * 2
        size = tuple(v * s for v, s in zip(voxel_size[-dims:], stems, strict=True))
        room = tuple(n // s for n, s in zip(patch[-dims:], stems, strict=False))
        self.factors, kernels = plan_levels(size, config.levels, patch=room)
        widths = [min(config.width * 2**k, config.most) for k in range(config.levels)]
        planes = 2 * config.context + 1
        self.enter = CONV[dims](
            planes * config.stem**2, widths[0], kernels[0],
            padding=tuple(k // 2 for k in kernels[0]),
        )  # fmt: skip
        self.down = _encoder(config, widths, kernels, self.factors)
        self.enlarge = nn.ModuleList(
            Up(below, here, factor=factor, kind=config.up)
            for (here, below), factor in zip(itertools.pairwise(widths), self.factors, strict=True)
        )
        self.up = nn.ModuleList(
            PlainBlock(2 * w, w, kernel=k, norm=config.norm)
            for w, k in zip(widths[:-1], kernels[:-1], strict=True)
        )
        self.head = CONV[dims](widths[0], channels * config.stem**2, 1)
        # Coarser levels are supervised, too, but for the two coarsest, which see next to nothing.
        supervised = widths[1:-2] if self.deep else []
        self.deep_heads = nn.ModuleList(CONV[dims](w, channels, 1) for w in supervised)

    def forward(self, raw: Tensor) -> Tensor | list[Tensor]:
        """Logits (N, channels, Z, Y, X); with deep supervision a list in training, finest first.

        The k-th of the list has voxels `factors[:k]` times as large, within the plane also stem
        times.
        """
        n = raw.shape[0]
        x = pack(fold_planes(raw, self.context) if self.dims == 2 else raw, self.stem)
        levels = self.ascend(self.descend(self.enter(x)))
        found = [spread(self.head(levels[0]), self.stem)]
        if self.training:
            found += [head(x) for head, x in zip(self.deep_heads, levels[1:], strict=False)]
        if self.dims == 2:
            found = [unfold_planes(x, n) for x in found]
        return found if self.deep and self.training else found[0]

    def descend(self, x: Tensor) -> list[Tensor]:
        """What each level sees, finest first."""
        seen = []
        for level in self.down:
            x = level(x)
            seen.append(x)
        return seen

    def ascend(self, seen: list[Tensor]) -> list[Tensor]:
        """The same on the way up, finest first."""
        x = seen[-1]
        levels = [x]
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([seen[level], self.enlarge[level](x)], dim=1))
            levels.append(x)
        return levels[::-1]

    @property
    def multiple(self) -> Shape:
        """What sizes along (Z, Y, X) must be multiples of; Z without the context."""
        steps = [math.prod(axis) for axis in zip(*self.factors, strict=True)] or [1] * self.dims
        z = steps[0] if self.dims == 3 else 1
        return (z, steps[-2] * self.stem, steps[-1] * self.stem)


def _encoder(
    config: ModelConfig, widths: list[int], kernels: list[Factors], factors: list[Factors]
) -> nn.ModuleList:
    """A module per level, which makes its input smaller first."""
    before = [widths[0], *widths[:-1]]
    if config.block == "residual":
        depths = _depths(config)
        strides = [(1,) * config.dims, *factors]
        return nn.ModuleList(
            nn.Sequential(
                ResidualBlock(a, b, kernel=kernel, norm=config.norm, stride=stride),
                *(
                    ResidualBlock(b, b, kernel=kernel, norm=config.norm, stride=(1,) * config.dims)
                    for _ in range(depth - 1)
                ),
            )
            for a, b, kernel, stride, depth in zip(
                before, widths, kernels, strides, depths, strict=True
            )
        )
    pools = [nn.Identity(), *(_pool(factor) for factor in factors)]
    return nn.ModuleList(
        nn.Sequential(pool, PlainBlock(a, b, kernel=kernel, norm=config.norm))
        for a, b, kernel, pool in zip(before, widths, kernels, pools, strict=True)
    )


def _depths(config: ModelConfig) -> tuple[int, ...]:
    given = config.depths or DEPTHS + DEPTHS[-1:] * config.levels
    if len(given) < config.levels:
        raise ConfigError(
            f"model.depths {list(given)} needs a number for each of the {config.levels} levels."
        )
    return given[: config.levels]


def _pool(factor: Factors) -> nn.Module:
    return nn.MaxPool2d(factor) if len(factor) == 2 else nn.MaxPool3d(factor)


def plan_levels(
    voxel_size: tuple[float, ...], levels: int, *, patch: tuple[int, ...] = ()
) -> tuple[list[Factors], list[Factors]]:
    """Factors between levels, and the kernel of each level (Isensee et al. 2021, nnU-Net's rules).

    Voxels become cubes first: an axis that is twice as coarse as the finest is not halved, and not
    convolved along, until the others have caught up.  Nor is an axis halved that would keep fewer
    than LEAST voxels of the patch, or that cannot be halved.
    """
    factors: list[Factors] = []
    kernels: list[Factors] = []
    size, room = voxel_size, patch or (LEAST * 2**levels,) * len(voxel_size)
    for _ in range(levels):
        large = [n % 2 == 0 and n // 2 >= LEAST for n in room]
        fine = min((v for v, fits in zip(size, large, strict=True) if fits), default=min(size))
        kernels.append(
            tuple(
                3 if v < 2 * min(size) or before == 3 else 1
                for v, before in zip(
                    size, kernels[-1] if kernels else (1,) * len(size), strict=True
                )
            )
        )
        factors.append(
            tuple(2 if fits and v < 2 * fine else 1 for v, fits in zip(size, large, strict=True))
        )
        size = tuple(v * f for v, f in zip(size, factors[-1], strict=True))
        room = tuple(n // f for n, f in zip(room, factors[-1], strict=True))
    return factors[:-1], kernels
