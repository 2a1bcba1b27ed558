"""What is made small.  Only annotated voxels count, and only they divide."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from baselines.config import LossConfig
from baselines.objects.heads import Heads

Sums = Callable[[Tensor], Tensor]
_CALM = 5e-4  # of the voxels: keeps Dice calm for labels that are hardly there
_FOCUS = 2.0  # Lin et al. 2017
_MISSED, _INVENTED = 0.7, 0.3  # Salehi et al. 2017: a missed voxel costs more than an invented one


def alone(sums: Tensor) -> Tensor:
    """Sums over voxels where one process sees the whole batch."""
    return sums


def loss_of(
    logits: Tensor | list[Tensor], target: Tensor, weight: Tensor, heads: Heads,
    config: LossConfig, *, across: Sums = alone,
) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
    """The loss, and what it is made of: each channel's own by name.

    logits, target, weight: (N, K, Z, Y, X).  Several logits are those of a network with deep
    supervision, finest first: each coarser one counts half of the one before.  A channel without
    weight has no part in it; a batch without any costs 0 and has no gradient.

    across: adds sums over voxels, (K,), across processes that share a batch, differentiably: their
    loss is then that of the whole batch.
    """
    levels = logits if isinstance(logits, list) else [logits]
    shares = [0.5**k for k in range(len(levels))]
    whole, parts = _loss(levels[0].float(), target, weight, heads, config, across)
    total = whole * (shares[0] / sum(shares))
    for level, share in zip(levels[1:], shares[1:], strict=True):
        coarse, _ = _loss(level.float(), *shrunk(target, weight, level), heads, config, across)
        total = total + coarse * (share / sum(shares))
    return total, parts


def shrunk(target: Tensor, weight: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Target and weight on the coarser grid of some logits: means of the annotated voxels."""
    z, y, x = like.shape[2:]
    size = (z, y, x)
    share = functional.adaptive_avg_pool3d(weight, size)
    mean = functional.adaptive_avg_pool3d(target * weight, size) / share.clamp(min=1e-6)
    return mean, share


def _loss(
    logits: Tensor, target: Tensor, weight: Tensor, heads: Heads, config: LossConfig, across: Sums
) -> tuple[Tensor, dict[str, Tensor]]:
    known = _sum(weight, across) > 0
    each = _channels(logits, target, weight, heads, config, across)
    each = torch.where(known, each, torch.zeros_like(each))
    labels, seen = [], []
    for head in heads:
        here = heads.of(head.label)
        seen.append(known[here].any())
        labels.append(each[here].sum() / known[here].sum().clamp(min=1))
    whole = torch.stack(labels).sum() / torch.stack(seen).sum().clamp(min=1)
    return whole, dict(zip(heads.names, each.detach(), strict=True))


def _channels(
    logits: Tensor, target: Tensor, weight: Tensor, heads: Heads, config: LossConfig, across: Sums
) -> Tensor:
    """The loss of each channel, (K,).  A distance is no mask: it takes cross-entropy alone."""
    masks = torch.zeros(logits.shape[1], device=logits.device)
    if config.kind in ("dice_bce", "dice"):
        masks = masks + 1 - soft_dice(logits, target, weight, across=across)
    if config.kind == "tversky":
        masks = masks + 1 - soft_dice(
            logits, target, weight, missed=_MISSED, invented=_INVENTED, across=across
        )  # fmt: skip
    if config.kind in ("dice_bce", "bce", "focal"):
        focus = _FOCUS if config.kind == "focal" else 0.0
        masks = masks + cross_entropy(
            logits, target, weight, most=config.most_weight, focus=focus, across=across
        )
    if not heads.graded:
        return masks
    parts = [chosen(values, heads.graded) for values in (logits, target, weight)]
    graded = cross_entropy(*parts, most=1.0, across=across)
    return masks.index_copy(0, index_of(heads.graded, logits.device), graded)


def chosen(values: Tensor, channels: Sequence[int]) -> Tensor:
    """Some channels of a tensor (N, K, …), in the order given."""
    return values.index_select(1, index_of(channels, values.device))


def index_of(channels: Sequence[int], device: torch.device) -> Tensor:
    """Numbers of channels on a device.  For a list as an index, a GPU would be waited for."""
    return torch.tensor(channels, dtype=torch.long).to(device, non_blocking=True)


def _sum(values: Tensor, across: Sums) -> Tensor:
    """Per channel: (N, K, Z, Y, X) -> (K,)."""
    return across(values.sum((0, 2, 3, 4)))


def cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor, *, most: float, focus: float = 0.0,
    across: Sums = alone,
) -> Tensor:  # fmt: skip
    """Per channel, the mean over the annotated voxels, (K,): 0 for the target itself.

    Voxels of the label weigh more where they are rarer than the others, up to `most` times.
    focus: voxels that are nearly right count less, by that power of what is wrong with them.
    Of targets between 0 and 1, their own entropy is taken off.
    """
    inside = _sum(target * weight, across)
    outside = _sum(weight, across) - inside
    rare = (outside / inside.clamp(min=1)).clamp(1.0, most).view(1, -1, 1, 1, 1)
    wrong = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    own = -torch.xlogy(target, target) - torch.xlogy(1 - target, 1 - target)
    wrong = wrong - own
    if focus:
        wrong = wrong * (logits.sigmoid() - target).abs() ** focus
    scale = weight * (1 + (rare - 1) * target)
    return _sum(wrong * scale, across) / _sum(scale, across).clamp(min=1e-6)


def soft_dice(
    logits: Tensor, target: Tensor, weight: Tensor, *, missed: float = 0.5, invented: float = 0.5,
    across: Sums = alone,
) -> Tensor:  # fmt: skip
    """Per channel, the overlap of probabilities and target among annotated voxels, (K,), 0 to 1.

    missed, invented: what voxels on one side only cost; one half each is Dice.
    """
    calm = _CALM * _sum(weight, across).clamp(min=1e-6)
    probability = logits.sigmoid() * weight
    target = target * weight
    both = _sum(probability * target, across)
    lost = missed * (_sum(target, across) - both)
    extra = invented * (_sum(probability, across) - both)
    return (both + calm) / (both + lost + extra + calm)
