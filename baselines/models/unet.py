"""A U-Net for planes or volumes.

Raw (N, 1, Z, Y, X) in, logits (N, labels, Z, Y, X) out, for both: the planar network folds Z into
the batch, so a volume of planes is a batch of images.  Y and X must be multiples of
stem * 2**(levels - 1); Z of the product of the factors along it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from baselines.config import ConfigError, ModelConfig
from evaluator.geometry import Shape

CONV: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
Factors = tuple[int, ...]


class ConvBlock(nn.Module):
    """(N, c_in, *space) -> (N, c_out, *space): two convolutions and a way around them."""

    def __init__(self, c_in: int, c_out: int, *, kernel: Factors) -> None:
        super().__init__()
        conv = CONV[len(kernel)]
        padding = tuple(k // 2 for k in kernel)
        self.first = conv(c_in, c_out, kernel, padding=padding, bias=False)
        self.norm = nn.GroupNorm(8, c_out)
        self.second = conv(c_out, c_out, kernel, padding=padding, bias=False)
        self.norm_second = nn.GroupNorm(8, c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self.norm(self.first(x)))
        return x + nn.functional.silu(self.norm_second(self.second(x)))


class UNet(nn.Module):
    """Down by max pooling, up by nearest neighbours, the same width on both sides of a level."""

    def __init__(self, config: ModelConfig, *, labels: int, voxel_size: tuple[float, ...]) -> None:
        super().__init__()
        self.dims, self.labels = config.dims, labels
        self.stem = (1,) * (config.dims - 2) + (config.stem,) * 2
        voxel_size = tuple(
            v * s for v, s in zip(voxel_size[-config.dims :], self.stem, strict=True)
        )
        self.factors, kernels = plan_levels(voxel_size, config.levels)
        widths = [min(config.width * 2**k, config.most) for k in range(config.levels)]
        packed = config.stem**2
        conv = CONV[config.dims]
        self.enter = conv(packed, widths[0], kernels[0], padding=tuple(k // 2 for k in kernels[0]))
        self.down = nn.ModuleList(
            ConvBlock(a, b, kernel=k)
            for a, b, k in zip([widths[0], *widths[:-1]], widths, kernels, strict=True)
        )
        self.narrow = nn.ModuleList(
            conv(below, here, 1, bias=False) for here, below in itertools.pairwise(widths)
        )
        self.up = nn.ModuleList(
            ConvBlock(2 * w, w, kernel=k) for w, k in zip(widths[:-1], kernels[:-1], strict=True)
        )
        self.head = conv(widths[0], labels * packed, 1)

    def forward(self, raw: Tensor) -> Tensor:
        """Logits (N, labels, Z, Y, X)."""
        n, _, z, y, x = raw.shape
        if self.dims == 2:
            raw = raw.transpose(1, 2).reshape(n * z, 1, y, x)
        out = self.spread(self.inner(self.pack(raw)))
        if self.dims == 2:
            out = out.reshape(n, z, self.labels, y, x).transpose(1, 2)
        return out

    def place(self, device: torch.device) -> None:
        """Move to a device, in the layout in which convolutions are fastest there."""
        layout = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        # Torch's stubs leave out memory_format, which its documentation names.
        self.to(device, memory_format=layout)  # type: ignore[call-overload]

    @property
    def multiple(self) -> Shape:
        """What sizes along (Z, Y, X) must be multiples of."""
        steps = [math.prod(axis) for axis in zip(*self.factors, strict=True)] or [1] * self.dims
        z = steps[0] if self.dims == 3 else 1
        return (z, steps[-2] * self.stem[-2], steps[-1] * self.stem[-1])

    def check_patch(self, patch: tuple[int, ...]) -> None:
        """Raise ConfigError if patches of this size do not go through."""
        if any(n % m for n, m in zip(patch, self.multiple, strict=True)):
            raise ConfigError(
                f"training.patch {list(patch)} must be a multiple of {list(self.multiple)} for "
                "this model and voxel size."
            )

    def inner(self, x: Tensor) -> Tensor:
        """The U itself, on packed voxels."""
        x = self.enter(x)
        skips = []
        for level, block in enumerate(self.down):
            if level:
                x = POOL[self.dims](self.factors[level - 1])(x)
            x = block(x)
            skips.append(x)
        for level in reversed(range(len(self.up))):
            # The 1x1 convolution commutes with repeating voxels, and is cheaper before it.
            x = nn.functional.interpolate(
                self.narrow[level](x), scale_factor=tuple(map(float, self.factors[level]))
            )
            x = self.up[level](torch.cat([skips[level], x], dim=1))
        logits: Tensor = self.head(x)
        return logits

    def pack(self, x: Tensor) -> Tensor:
        """(N, 1, *space) -> (N, stem**2, *space / stem)."""
        if self.stem[-1] == 1:
            return x
        s = self.stem[-1]
        n, _, *space, y, w = x.shape
        x = x.reshape(n, *space, y // s, s, w // s, s)
        return x.movedim((-3, -1), (1, 2)).reshape(n, s * s, *space, y // s, w // s)

    def spread(self, x: Tensor) -> Tensor:
        """(N, labels * stem**2, *space / stem) -> (N, labels, *space)."""
        if self.stem[-1] == 1:
            return x
        s = self.stem[-1]
        n, _, *space, y, w = x.shape
        x = x.reshape(n, self.labels, s, s, *space, y, w)
        x = x.movedim((2, 3), (-3, -1))
        return x.reshape(n, self.labels, *space, y * s, w * s)


def plan_levels(voxel_size: tuple[float, ...], levels: int) -> tuple[list[Factors], list[Factors]]:
    """Pooling factors between levels, and the kernel of each level.

    Voxels become cubes first: an axis that is twice as coarse as the finest is not pooled, and not
    convolved along, until the others have caught up.
    """
    factors: list[Factors] = []
    kernels: list[Factors] = []
    size = voxel_size
    for _ in range(levels):
        fine = min(size)
        kernels.append(tuple(3 if v < 2 * fine else 1 for v in size))
        factors.append(tuple(2 if v < 2 * fine else 1 for v in size))
        size = tuple(v * f for v, f in zip(size, factors[-1], strict=True))
    return factors[:-1], kernels
