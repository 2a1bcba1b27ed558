"""What networks are made of, for planes (2 axes) and volumes (3 axes) alike."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, avg_pool3d, interpolate, silu

Factors = tuple[int, ...]

CONV: dict[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
AVERAGE: dict[int, Callable[..., Tensor]] = {2: avg_pool2d, 3: avg_pool3d}
LINEAR = {2: "bilinear", 3: "trilinear"}
GROUPS = 8


def normalisation(kind: str, channels: int, dims: int) -> nn.Module:
    """group: GROUPS groups of channels; instance: each channel by itself; batch: over the batch."""
    if kind == "batch":
        return nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm3d(channels)
    return nn.GroupNorm(GROUPS if kind == "group" else channels, channels)


def convolution(c_in: int, c_out: int, kernel: Factors, *, stride: Factors = ()) -> nn.Module:
    """A convolution that keeps the size, or divides it by the stride; no bias: a norm follows."""
    padding = tuple(k // 2 for k in kernel)
    return CONV[len(kernel)](c_in, c_out, kernel, stride=stride or 1, padding=padding, bias=False)


class PlainBlock(nn.Module):
    """(N, c_in, *space) -> (N, c_out, *space): two convolutions and a way around the second."""

    def __init__(self, c_in: int, c_out: int, *, kernel: Factors, norm: str) -> None:
        super().__init__()
        self.first = convolution(c_in, c_out, kernel)
        self.norm = normalisation(norm, c_out, len(kernel))
        self.second = convolution(c_out, c_out, kernel)
        self.norm_second = normalisation(norm, c_out, len(kernel))

    def forward(self, x: Tensor) -> Tensor:
        x = silu(self.norm(self.first(x)))
        return x + silu(self.norm_second(self.second(x)))


class ResidualBlock(nn.Module):
    """(N, c_in, *space) -> (N, c_out, *space / stride).

    Two convolutions are added to what came in, which is averaged and projected where its size or
    its channels change (He et al. 2016; averaging before projecting as in ResNet-D).
    """

    def __init__(
        self, c_in: int, c_out: int, *, kernel: Factors, norm: str, stride: Factors
    ) -> None:
        super().__init__()
        dims = len(kernel)
        # A stride along an axis on which the kernel is 1 would skip every second voxel unseen.
        wide = tuple(max(k, s + s % 2 - 1) for k, s in zip(kernel, stride, strict=True))
        self.stride = stride
        self.first = convolution(c_in, c_out, wide, stride=stride)
        self.norm = normalisation(norm, c_out, dims)
        self.second = convolution(c_out, c_out, kernel)
        self.norm_second = normalisation(norm, c_out, dims)
        changes = c_in != c_out
        self.project = convolution(c_in, c_out, (1,) * dims) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = silu(self.norm(self.first(x)))
        y = self.norm_second(self.second(y))
        if max(self.stride) > 1:
            x = AVERAGE[len(self.stride)](x, self.stride)
        return silu(y + self.project(x))


class Up(nn.Module):
    """(N, c_in, *space) -> (N, c_out, *space * factor)."""

    def __init__(self, c_in: int, c_out: int, *, factor: Factors, kind: str) -> None:
        super().__init__()
        self.factor, self.kind = factor, kind
        dims = len(factor)
        if kind == "transpose":
            self.narrow = TRANSPOSED[dims](c_in, c_out, factor, stride=factor, bias=False)
        else:
            self.narrow = CONV[dims](c_in, c_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(x)
        if self.kind == "transpose":
            return x
        # The 1x1 convolution commutes with enlarging, and is cheaper before it.
        scale = tuple(map(float, self.factor))
        if self.kind == "linear":
            return interpolate(x, scale_factor=scale, mode=LINEAR[len(scale)])
        return interpolate(x, scale_factor=scale)


def fold_planes(raw: Tensor, context: int) -> Tensor:
    """(N, 1, Z + 2 context, Y, X) -> (N Z, 2 context + 1, Y, X): each plane with its neighbours."""
    n, _, z, y, x = raw.shape
    planes = raw[:, 0].unfold(1, 2 * context + 1, 1) if context else raw[:, 0, ..., None]
    return planes.movedim(-1, 2).reshape(n * (z - 2 * context), 2 * context + 1, y, x)


def unfold_planes(x: Tensor, n: int) -> Tensor:
    """(N Z, K, Y, X) -> (N, K, Z, Y, X)."""
    return x.reshape(n, -1, *x.shape[1:]).transpose(1, 2)


def pack(x: Tensor, s: int) -> Tensor:
    """(N, C, *space) -> (N, C s², *space): voxels of an s x s square become channels."""
    if s == 1:
        return x
    n, c, *space, height, width = x.shape
    x = x.reshape(n, c, *space, height // s, s, width // s, s)
    x = x.movedim((-3, -1), (2, 3))
    return x.reshape(n, c * s * s, *space, height // s, width // s)


def spread(x: Tensor, s: int) -> Tensor:
    """(N, C s², *space) -> (N, C, *space): undoes `pack`."""
    if s == 1:
        return x
    n, c, *space, height, width = x.shape
    x = x.reshape(n, c // (s * s), s, s, *space, height, width)
    x = x.movedim((2, 3), (-3, -1))
    return x.reshape(n, c // (s * s), *space, height * s, width * s)
