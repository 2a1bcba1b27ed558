"""What all networks have in common."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import nn

from baselines.config import ConfigError
from evaluator.geometry import Shape


class Network(nn.Module):
    """Raw (N, 1, Z + 2 context, Y, X) in, logits (N, channels, Z, Y, X) out.

    dims: 2 sees planes, 3 volumes.  context: planes on each side of the predicted one that go in.
    """

    def __init__(self, *, dims: int, channels: int, context: int) -> None:
        super().__init__()
        self.dims, self.channels, self.context = dims, channels, context

    @property
    @abstractmethod
    def multiple(self) -> Shape:
        """What sizes along (Z, Y, X) must be multiples of; Z without the context."""

    def place(self, device: torch.device, *, trains: bool = False) -> None:
        """Move to a device, in the layout in which its convolutions are fastest there.

        Channels lie last, but on a CPU that trains: there the gradients of normalisation would take
        longer than all else, and a volume's step 1.4 times as long (torch 2.13, bfloat16).
        """
        last = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        layout = torch.contiguous_format if trains and device.type == "cpu" else last
        # Torch's stubs leave out memory_format, which its documentation names.
        self.to(device, memory_format=layout)  # type: ignore[call-overload]

    def check_patch(self, patch: tuple[int, ...]) -> None:
        """Raise ConfigError if patches of this size do not go through."""
        pairs = zip(patch, self.multiple, strict=True)
        nearest = [max(m, round(n / m) * m) for n, m in pairs]
        if nearest != list(patch):
            raise ConfigError(
                f"training.patch {list(patch)} must be a multiple of {list(self.multiple)} for "
                f"this model and voxel size; the nearest is {nearest}."
            )
