"""One update of the weights from one batch, in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from baselines.config import Config, ConfigError
from baselines.models.network import Network
from baselines.objects.heads import Heads
from baselines.objects.targets import make_targets
from baselines.runs.devices import use_bf16
from baselines.training.losses import alone, chosen, loss_of
from baselines.training.sampling import Batch

Forward = Callable[[Tensor], "Tensor | list[Tensor]"]
MOMENTUM = 0.9  # of SGD


def make_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """AdamW, RAdam or SGD; weights of convolutions decay, scales and biases do not.

    The decay of AdamW and RAdam is decoupled from the gradient (Loshchilov and Hutter 2019).  That
    of SGD is part of the gradient, and its momentum Nesterov's.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    settings = config.training
    fused = next(model.parameters()).is_cuda
    rate, decay = settings.lr, settings.weight_decay
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=rate, weight_decay=decay, momentum=MOMENTUM, nesterov=True, fused=fused
        )
    if settings.optimizer == "radam":
        # capturable: its counters stay on the GPU, which then need not be waited for.
        return torch.optim.RAdam(
            groups, lr=rate, weight_decay=decay, decoupled_weight_decay=True, capturable=fused
        )
    return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=fused)


def learns_in_bf16(config: Config, model: Network, device: torch.device) -> bool:
    """Whether gradients are computed in bfloat16; where they would be wrong they are not.

    On a CPU torch 2.13 reads the gradient of a convolution's weights from memory that nobody wrote
    where a volume has 2 planes.  Raises ConfigError if bfloat16 was asked for there.
    """
    precision = config.training.precision
    bf16 = use_bf16(precision, device)
    if not bf16 or device.type != "cpu" or not _sees_less_than_its_kernel(config, model):
        return bf16
    if precision == "auto":
        return False
    raise ConfigError(
        f"training.precision = 'bf16' does not work on a CPU for patches of "
        f"{list(config.training.patch)}: a level of the network has fewer planes than its kernels. "
        "Set training.precision = 'fp32' or 'auto', or take larger patches."
    )


def _sees_less_than_its_kernel(config: Config, model: Network) -> bool:
    """True if a 3D convolution gets an axis shorter than its kernel from a patch of training."""
    short: list[bool] = []

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Conv3d)
        sizes = zip(given[0].shape[2:], layer.kernel_size, strict=True)
        short.append(any(size < kernel for size, kernel in sizes))

    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv3d)]
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    trained = model.training
    z, y, x = config.training.patch
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 1, z + 2 * config.model.context, y, x))
    finally:
        model.train(trained)
        for hook in hooks:
            hook.remove()
    return any(short)


def gradients(
    forward: Forward, parts: Sequence[Batch], heads: Heads, config: Config, *, bf16: bool,
    counted: bool = False, across: Callable[[Tensor], Tensor] = alone,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Add the gradients of a batch that comes in parts; each counts by its number of patches.

    Returns the loss, a scalar on the device, and if asked for the voxels of the masks at 0.5 as
    (3, L): found, invented, missed.  across: sums over voxels go through it, see `loss_of`.
    """
    patches = sum(len(part.raw) for part in parts)
    device = parts[0].raw.device
    total, counts = torch.zeros((), device=device), None
    for part in parts:
        target, weight = make_targets(part.ids, part.known, heads)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = forward(part.raw)
        loss, _ = loss_of(logits, target, weight, heads, config.loss, across=across)
        loss = loss * (len(part.raw) / patches)
        torch.autograd.backward(loss)
        total += loss.detach()
        if counted:
            here = mask_counts(logits, target, weight, heads)
            counts = here if counts is None else counts + here
    return total, counts


@torch.no_grad()
def mask_counts(
    logits: Tensor | list[Tensor], target: Tensor, weight: Tensor, heads: Heads
) -> Tensor:
    """Annotated voxels of each label's mask: found, invented, missed; (3, L) float64."""
    finest = logits[0] if isinstance(logits, list) else logits
    found, known = chosen(finest, heads.masks) > 0, chosen(weight, heads.masks) > 0
    wanted = chosen(target, heads.masks) > 0.5
    pairs = (found & wanted, found & ~wanted, ~found & wanted)
    return torch.stack([(pair & known).sum((0, 2, 3, 4)) for pair in pairs]).double()


def step(optimizer: torch.optim.Optimizer, *, rate: float, clip: float) -> Tensor:
    """Move the weights; returns the norm that the gradients had, a scalar on their device."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm


@torch.no_grad()
def follow(
    average: dict[str, Tensor], weights: dict[str, Tensor], *, decay: float, iteration: int
) -> None:
    """Move the averaged weights towards the present ones, faster at the beginning."""
    share = 1 - min(decay, (1 + iteration) / (10 + iteration))
    moving = [name for name, value in weights.items() if value.is_floating_point()]
    torch._foreach_lerp_([average[n] for n in moving], [weights[n] for n in moving], share)
    for name in weights.keys() - moving:  # counters of normalisation
        average[name].copy_(weights[name])
