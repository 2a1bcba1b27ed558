"""Random changes to a batch, on the device it lies on: one draw for raw and annotation.

Small numbers are drawn on the CPU, so that a GPU is never waited for; noise on the device.  What is
turned or shifted goes on as in a mirror, raw and ids alike, so that no voxel becomes unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from baselines.config import AugmentConfig
from baselines.training.sampling import Batch

_MOST_SHIFT = 0.06  # of the patch, between sections that do not fit
_SIGMA = (0.5, 1.5)  # of the blur, voxels


def augment(
    batch: Batch, config: AugmentConfig, generator: torch.Generator, voxel_size: Sequence[float]
) -> Batch:
    """The batch as the microscope might have recorded it, too; the given one may be overwritten.

    generator: of the CPU; same state, same changes.  voxel_size: nm (Z, Y, X).
    """
    if not config.enabled:
        return batch
    square = math.isclose(voxel_size[1], voxel_size[2], rel_tol=0.1)
    if config.orientation:
        _flip_and_turn(batch, config, generator, square=square)
    batch = _warp(batch, config, generator, voxel_size)
    for i in _chosen(batch, config.misalignment, generator):
        _misalign(batch, i, generator)
    raw = relight(_spoil(batch.raw, config, generator), config, generator)
    return Batch(raw, batch.ids, batch.known)


def relight(raw: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Other contrast, brightness, gamma and more noise.  raw: (N, 1, Z, Y, X), mean 0, spread 1."""
    drawn = torch.randn((4, len(raw), 1, 1, 1, 1), generator=generator)
    gain, bias, gamma, noise = drawn.to(raw.device, non_blocking=True)  # or a GPU is waited for
    if config.gamma:
        # Gamma bends the grey scale around -2 .. 2, where nearly all values lie.
        raw = ((raw + 2.5) / 5).clamp(min=1e-3).pow((config.gamma * gamma).exp()) * 5 - 2.5
    raw = raw * (config.gain * gain).exp() + config.bias * bias
    if config.noise:
        grain = torch.randn(raw.shape, device=raw.device, generator=_on(raw.device, generator))
        raw = raw + config.noise * noise.abs() * grain
    return raw


def _flip_and_turn(
    batch: Batch, config: AugmentConfig, generator: torch.Generator, *, square: bool
) -> None:
    """Flips along all axes, and quarter turns of the plane where it stays the same grid."""
    drawn = torch.rand((4, len(batch.raw)), generator=generator)
    if config.flips:
        for axis, row in zip((-3, -2, -1), drawn, strict=False):
            _change(batch, row < 0.5, partial(torch.flip, dims=(axis,)))
    if config.turns and square and batch.raw.shape[-1] == batch.raw.shape[-2]:
        for turns in (1, 2, 3):
            here = (drawn[3] * 4).long() == turns
            _change(batch, here, partial(torch.rot90, k=turns, dims=(-2, -1)))


def _change(batch: Batch, chosen: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    index = chosen.nonzero()[:, 0]
    if len(index):
        for part in (batch.raw, batch.ids, batch.known):
            where = index.to(part.device, non_blocking=True)
            part[where] = change(part[where])


def _warp(
    batch: Batch, config: AugmentConfig, generator: torch.Generator, voxel_size: Sequence[float]
) -> Batch:
    """Some patches turned by any angle within the plane, some enlarged or reduced."""
    turned = _chosen(batch, config.rotation if config.orientation else 0.0, generator)
    scaled = _chosen(batch, config.scaling, generator)
    drawn = torch.rand((2, len(batch.raw)), generator=generator).tolist()
    least, most = (math.log(scale) for scale in config.scale)
    for i in sorted({*turned, *scaled}):
        angle = 2 * math.pi * drawn[0][i] if i in turned else 0.0
        scale = math.exp(least + (most - least) * drawn[1][i]) if i in scaled else 1.0
        _warp_one(batch, i, angle, scale, voxel_size[1] / voxel_size[2])
    return batch


def _warp_one(batch: Batch, i: int, angle: float, scale: float, aspect: float) -> None:
    """aspect: how much longer a voxel is along Y than along X."""
    device, (depth, height, width) = batch.raw.device, batch.ids.shape[2:]
    y = torch.arange(height, device=device)[:, None] - (height - 1) / 2
    x = torch.arange(width, device=device)[None] - (width - 1) / 2
    sine, cosine = math.sin(angle) / scale, math.cos(angle) / scale
    row = cosine * y + sine * x / aspect + (height - 1) / 2
    column = cosine * x - sine * y * aspect + (width - 1) / 2
    planes = batch.raw.shape[2]
    # Context planes belong to one plane of ids: only a volume is enlarged along Z, too.
    along = scale if planes == depth else 1.0
    z = (torch.arange(planes, device=device) - (planes - 1) / 2) / along + (planes - 1) / 2
    batch.raw[i, 0] = _interpolated(batch.raw[i, 0], z, row, column)
    near = (torch.arange(depth, device=device) - (depth - 1) / 2) / along + (depth - 1) / 2
    index = tuple(
        _mirror(part.round().long(), n)
        for part, n in ((near, depth), (row, height), (column, width))
    )
    flat = index[0][:, None, None] * (height * width) + (index[1] * width + index[2])[None]
    for part in (batch.ids, batch.known):
        part[i] = part[i].flatten(1)[:, flat.flatten()].reshape(part[i].shape)


def _interpolated(raw: Tensor, z: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """raw (Z, Y, X) at fractional places; z (Z,), row and column (Y, X)."""
    places = [
        ((2 * part + 1) / n - 1).expand(raw.shape)
        for part, n in zip((z[:, None, None], row, column), raw.shape, strict=True)
    ]
    grid = torch.stack(places[::-1], dim=-1)[None]
    return functional.grid_sample(
        raw[None, None], grid, padding_mode="reflection", align_corners=False
    )[0, 0]


def _misalign(batch: Batch, i: int, generator: torch.Generator) -> None:
    """From one section on, or in one section only, everything lies elsewhere in the plane."""
    planes, context = batch.raw.shape[2], (batch.raw.shape[2] - batch.ids.shape[2]) // 2
    if planes == 1:
        return
    section, one, down, across = torch.rand(4, generator=generator).tolist()
    first = 1 + int(section * (planes - 1))
    last = first + 1 if one < 0.5 else planes
    height, width = batch.raw.shape[-2:]
    rows, columns = (
        _mirror(torch.arange(n, device=batch.raw.device) + round((2 * s - 1) * _MOST_SHIFT * n), n)
        for n, s in ((height, down), (width, across))
    )
    for part, behind in ((batch.raw, 0), (batch.ids, context), (batch.known, context)):
        low, high = max(first - behind, 0), max(last - behind, 0)
        moved = part[i, :, low:high]
        part[i, :, low:high] = moved[..., rows, :][..., columns]


def _spoil(raw: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Blurred patches, missing sections, stripes along Y or X."""
    count = len(raw)
    drawn = torch.rand((3, count), generator=generator).tolist()
    for i in _picked(count, config.blur, generator):
        raw[i, 0] = _blurred(raw[i, 0], _SIGMA[0] + (_SIGMA[1] - _SIGMA[0]) * drawn[0][i])
    if raw.shape[2] > 1:
        for i in _picked(count, config.missing, generator):
            section = int(drawn[1][i] * raw.shape[2])
            raw[i, 0, section] = raw[i].amin()  # a lost section is black
    grain = _on(raw.device, generator)
    for i in _picked(count, config.stripes, generator):
        axis = -1 if drawn[2][i] < 0.5 else -2
        lines = torch.randn(raw.shape[axis], device=raw.device, generator=grain)
        lines = 0.2 + 0.6 * abs(2 * drawn[2][i] - 1) * lines
        raw[i] += lines if axis == -1 else lines[:, None]
    return raw


def _blurred(raw: Tensor, sigma: float) -> Tensor:
    """raw (Z, Y, X) through a Gaussian within the plane."""
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=raw.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    planes = functional.pad(raw[:, None], (radius,) * 4, mode="replicate")
    planes = functional.conv2d(planes, kernel.reshape(1, 1, -1, 1))
    return functional.conv2d(planes, kernel.reshape(1, 1, 1, -1))[:, 0]


def _mirror(index: Tensor, n: int) -> Tensor:
    folded = index % (2 * n)
    return torch.where(folded < n, folded, 2 * n - 1 - folded)


def _chosen(batch: Batch, share: float, generator: torch.Generator) -> list[int]:
    return _picked(len(batch.raw), share, generator)


def _picked(count: int, share: float, generator: torch.Generator) -> list[int]:
    """Which patches it happens to; drawn even if none, so that settings do not shift the rest."""
    return [i for i, d in enumerate(torch.rand(count, generator=generator).tolist()) if d < share]


def _on(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """A generator on a device that follows from the one on the CPU."""
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.Generator(device).manual_seed(seed)
