"""What a network is to learn from ids: masks, contours, distances, affinities.

Tensors are made on the device of the ids, after augmentation, so that contours are sharp and
offsets exact.  Without annotation the weight is 0.
"""

from __future__ import annotations

import edt
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from baselines.objects.heads import AFFINITY, BCD, COMPONENTS, Head, Heads

FAR = 24  # voxels of the finest axis: what is farther from an object's border is at its middle


def make_targets(ids: Tensor, known: Tensor, heads: Heads) -> tuple[Tensor, Tensor]:
    """Target, 0 to 1, and weight, 0 or 1: both (N, K, Z, Y, X) float32, K channels of all heads.

    ids: (N, L, Z, Y, X) whole numbers, 0 where the label is absent.
    known: (N, L, Z, Y, X) bool, where the label was annotated.
    """
    pairs = [_MAKERS.get(head.representation, _plain)(ids[:, k], known[:, k], head)
             for k, head in enumerate(heads)]  # fmt: skip
    target, weight = (torch.cat(parts, dim=1) for parts in zip(*pairs, strict=True))
    return target.float(), weight.float()


def _plain(ids: Tensor, known: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    return (ids > 0)[:, None], known[:, None]


def _components(ids: Tensor, known: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    return _with_gaps(ids, head)[:, None], known[:, None]


def _bcd(ids: Tensor, known: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    target = torch.stack(
        [ids > 0, contours(ids, head.axes), distances(ids, known, head)], dim=1
    )  # fmt: skip
    # Whether there is a contour beside unknown voxels, nobody can say.
    sure = known & ~contours(known, head.axes)
    return target, torch.stack([known, sure, known], dim=1)


def _affinity(ids: Tensor, known: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    target = torch.zeros((len(ids), len(head.channels), *ids.shape[1:]), device=ids.device)
    weight = torch.zeros_like(target)
    target[:, 0], weight[:, 0] = ids > 0, known
    for channel, offset in enumerate(head.offsets, start=1):
        here, there = _pair(tuple(ids.shape[1:]), offset)
        one, other = ids[here], ids[there]
        target[:, channel][here] = ((one == other) & (one > 0)).float()
        # Two voxels of background neither join nor part: the mask says what they are.
        seen = known[here] & known[there] & ((one > 0) | (other > 0))
        weight[:, channel][here] = seen.float()
    return target, weight


_MAKERS = {COMPONENTS: _components, BCD: _bcd, AFFINITY: _affinity}


def _pair(
    shape: tuple[int, ...], offset: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Indices (N, Z, Y, X) of the voxels with a partner at an offset, and of their partners."""
    here = [slice(max(-o, 0), max(min(n - o, n), 0)) for n, o in zip(shape, offset, strict=True)]
    there = [slice(max(o, 0), max(min(n + o, n), 0)) for n, o in zip(shape, offset, strict=True)]
    return (slice(None), *here), (slice(None), *there)


def contours(ids: Tensor, axes: tuple[int, ...], *, between: bool = False) -> Tensor:
    """Voxels (N, Z, Y, X) with another id across a face, bool: both sides of every border.

    axes: of (Z, Y, X), along which neighbours lie.  between: borders between two objects only.
    """
    found = torch.zeros_like(ids, dtype=torch.bool)
    for axis in axes:
        n = ids.shape[axis + 1] - 1
        low, high = ids.narrow(axis + 1, 0, n), ids.narrow(axis + 1, 1, n)
        border = low != high
        if between:
            border &= (low > 0) & (high > 0)
        found.narrow(axis + 1, 0, n).logical_or_(border)
        found.narrow(axis + 1, 1, n).logical_or_(border)
    return found


def _with_gaps(ids: Tensor, head: Head) -> Tensor:
    """The mask without the voxels between objects that touch, and without its outermost ones.

    Connected components could never tell two objects apart that touch.
    """
    mask = (ids > 0) & ~contours(ids, head.axes, between=True)
    for _ in range(head.shrink):
        mask = mask & ~contours(mask, (1, 2))
    return mask


def distances(ids: Tensor, known: Tensor, head: Head) -> Tensor:
    """How deep a voxel lies in its object: 0 outside, 1 where the object is thickest.

    ids, known: (N, Z, Y, X).  The Euclidean distance in nm to the nearest voxel of another id, at
    most FAR of the finest voxels, divided by the largest in the object as far as it is seen.
    Unknown voxels, and what lies beyond the patch, are not another id.
    """
    # On the CPU one pass of a library is many times as fast, where nothing is unknown.
    way = by_lines if ids.device.type == "cpu" and bool(known.all()) else by_steps
    depth = way(ids, known, head)
    # Objects of different patches of the batch are different objects.
    first = torch.arange(len(ids), device=ids.device).view(-1, 1, 1, 1) << 32
    number = numbered(ids.long() + first)
    deepest = depth.new_zeros(number.numel())
    deepest.scatter_reduce_(0, number.flatten(), depth.flatten(), "amax")
    return depth / deepest[number].clamp(min=1e-6)


def numbered(ids: Tensor) -> Tensor:
    """The same objects with the numbers 0, 1, 2 … in the order of their ids.

    As torch.unique counts them, but a GPU is not waited for.
    """
    ordered, place = ids.flatten().sort()
    rank = functional.pad(ordered.diff() != 0, (1, 0)).cumsum(0)
    return torch.empty_like(rank).scatter_(0, place, rank).view(ids.shape)


def _far(head: Head) -> float:
    return FAR * min(head.voxel_size[axis] for axis in head.axes)


def by_lines(ids: Tensor, known: Tensor, head: Head) -> Tensor:
    """Distances in nm to the nearest voxel of another id, where all are known; 0 outside."""
    far = _far(head)
    # Planes that do not count lie too far away to matter.
    size = [head.voxel_size[axis] if axis in head.axes else 2 * far for axis in range(3)]
    found = [
        edt.edt(part.numpy().astype(np.uint32), anisotropy=tuple(size), parallel=1) for part in ids
    ]
    return torch.from_numpy(np.stack(found)).clamp(max=far)


def by_steps(ids: Tensor, known: Tensor, head: Head) -> Tensor:
    """The same on any device, and where some voxels are unknown."""
    far = _far(head)
    square = torch.full(ids.shape, far**2, device=ids.device)
    for axis in head.axes:
        square = _along(square, ids, known, axis + 1, head.voxel_size[axis], far)
    return square.sqrt() * (ids > 0)


def _along(
    square: Tensor, ids: Tensor, known: Tensor, axis: int, size: float, far: float
) -> Tensor:
    """Squared distances, with what the voxels along one more axis know taken in.

    A voxel at k steps offers its own squared distance if it has the same id, 0 if it has another,
    plus the squared way to it.  After all axes this is the exact distance: the separable scheme
    of Felzenszwalb and Huttenlocher (2012), for ids, by trying all steps up to `far`.
    """
    best = square.clone()
    elsewhere = torch.where(known, 0.0, far**2)
    n = ids.shape[axis]
    for k in range(1, min(n - 1, int(far / size)) + 1):
        way = (k * size) ** 2
        low, high = (slice(0, n - k), slice(k, n))
        same = ids.narrow(axis, 0, n - k) == ids.narrow(axis, k, n - k)
        for here, there in ((low, high), (high, low)):
            offer = torch.where(
                same, _part(square, axis, there), _part(elsewhere, axis, there)
            ) + way  # fmt: skip
            mine = _part(best, axis, here)
            torch.minimum(mine, offer, out=mine)
    return best


def _part(values: Tensor, axis: int, part: slice) -> Tensor:
    return values.narrow(axis, part.start, part.stop - part.start)
