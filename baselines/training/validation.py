"""How good a network is on the voxels kept from training, and which threshold suits each label."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from baselines.box import Box
from baselines.config import Config
from baselines.data.crops import TrainingCrop
from baselines.models import Network
from baselines.objects.agreement import Agreement, agreement
from baselines.objects.decoding import Thresholds
from baselines.objects.heads import Head, Heads
from baselines.objects.recipe import Recipe
from baselines.objects.targets import make_targets
from baselines.objects.tuning import Volume, tune
from baselines.predicting.blockwise import predict_box
from baselines.predicting.doubt import Part, Tally, parts_of, tally
from baselines.predicting.predictors import predictor_of
from baselines.predicting.tiling import Tiling, plan_tiling
from baselines.training.losses import loss_of
from baselines.training.ranks import ALONE, Ranks
from baselines.training.sampling import cut
from evaluator.manifest import Kind

MOST_VOXELS = 2**25  # of a validation box that are looked at: memory is bounded
MOST_TUNED = 2**21  # of a validation box on which thresholds of objects are tried


@dataclass(frozen=True)
class Validation:
    """Per label that was annotated: the best Dice of its mask, and the threshold that reaches it.

    loss: mean over the boxes.  doubts, label_doubts: of each box with a foreground, over all labels
    and of those that it has any of, see `predicting.doubt`.
    """

    loss: float
    dice: dict[str, float]
    thresholds: dict[str, float]
    doubts: list[float] = field(default_factory=list)
    label_doubts: list[dict[str, Part]] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """One number to choose weights by: mean Dice of all labels."""
        return float(np.mean(list(self.dice.values()))) if self.dice else 0.0


@dataclass(frozen=True, slots=True)
class Tuned:
    """Thresholds of a label's objects, and the panoptic quality that they reach."""

    thresholds: Thresholds
    quality: float


@dataclass(frozen=True)
class Looked:
    """One validation box: what was predicted, and what is true.

    probabilities: (K, Z, Y, X) float32.  ids: (L, Z, Y, X) int32.  known: bool, as ids.
    """

    crop: TrainingCrop
    probabilities: np.ndarray
    ids: np.ndarray
    known: np.ndarray


def validate(
    model: Network, crops: list[TrainingCrop], config: Config, heads: Heads, *,
    device: torch.device, bf16: bool, ranks: Ranks = ALONE,
) -> Validation | None:  # fmt: skip
    """What the network reaches on all validation boxes; None if there are none.

    Processes that train together share the boxes.
    """
    found = [
        _measure(looked, heads, config)
        for looked in look(model, crops, config, heads, device=device, bf16=bf16, ranks=ranks)
    ]
    found = [pair for part in ranks.gathered(found) for pair in part]
    if not found:
        return None
    counts, losses, annotated, tallies = zip(*found, strict=True)
    dice, thresholds = functools.reduce(operator.add, counts).best()
    seen = np.any(annotated, axis=0)
    labels = [head.label for head in heads]
    overall = [sum(one.values(), Tally()).mean_doubt for one in tallies]
    return Validation(
        loss=float(np.mean(losses)),
        dice={n: float(d) for n, d, s in zip(labels, np.round(dice, 5), seen, strict=True) if s},
        thresholds={n: float(t) for n, t in zip(labels, thresholds, strict=True)},
        doubts=[round(doubt, 5) for doubt in overall if doubt is not None],
        label_doubts=[parts for one in tallies if (parts := parts_of(one))],
    )


def look(
    model: Network, crops: list[TrainingCrop], config: Config, heads: Heads, *,
    device: torch.device, bf16: bool, ranks: Ranks = ALONE,
) -> Iterator[Looked]:  # fmt: skip
    """Each validation box, predicted as a volume would be, with its annotation."""
    predictor = predictor_of(model, device=device, bf16=bf16)
    labels = [head.label for head in heads]
    for crop, box, tiling in looks(model, crops, config)[ranks.rank :: ranks.size]:
        found = predict_box(
            predictor, crop.raw, crop.light, box=box, tiling=tiling,
            channels=heads.channels, batch=config.prediction.batch,
        )  # fmt: skip
        _, ids, known = cut(crop, box, labels, boxes=crop.validation)
        yield Looked(crop, found, ids, known)


def looks(
    model: Network, crops: list[TrainingCrop], config: Config
) -> list[tuple[TrainingCrop, Box, Tiling]]:
    """What is looked at of each crop: its validation boxes, a part of those that are too large.

    With training.validation_tiles, no more tiles than that reach into all of them together; of more
    boxes than tiles, some of those with fewest tiles are left out.
    """
    found = []
    for crop in crops:
        tiling = plan_tiling(
            crop.grid.shape, config.prediction, model.multiple, context=config.model.context
        )
        found += [(crop, _part(box), tiling) for box in crop.validation]
    most = config.training.validation_tiles
    if not most:
        return found
    shares = shared(most, [
        math.prod(_reaching(box, tiling, axis) for axis in range(3)) for _, box, tiling in found
    ])  # fmt: skip
    return [
        (crop, part_of_tiles(box, tiling, share), tiling)
        for (crop, box, tiling), share in zip(found, shares, strict=True) if share
    ]  # fmt: skip


def shared(most: int, wanted: Sequence[int]) -> list[int]:
    """So many of each, as evenly as what is wanted allows, `most` in all."""
    shares, left = [0] * len(wanted), most
    by_size = sorted(range(len(wanted)), key=lambda k: wanted[k])
    for done, k in enumerate(by_size):
        shares[k] = min(wanted[k], left // (len(wanted) - done))
        left -= shares[k]
    return shares


def part_of_tiles(box: Box, tiling: Tiling, most: int) -> Box:
    """A part of a box into which so many tiles reach: its first planes, or rows of a plane.

    Where tiles overlap by half there are more: as many as reach into one voxel.
    """
    for axis in range(3):
        others = math.prod(_reaching(box, tiling, k) for k in range(3) if k != axis)
        box = _shortened(box, tiling, axis, max(1, most // others))
    return box


def _shortened(box: Box, tiling: Tiling, axis: int, most: int) -> Box:
    """The longest part along an axis into which no more tiles than that reach along it."""
    starts, size = list(tiling.weights(axis)), tiling.tile[axis]
    low, high = box.start[axis], box.stop[axis]

    def end(begin: int) -> int:
        after = [start for start in starts if start + size > begin][most:]
        return min([high, *after[:1]])

    begins = [low, *(start + size for start in starts if low < start + size < high)]
    begin = max(begins, key=lambda n: end(n) - n)
    if end(begin) <= begin:
        return _shortened(box, tiling, axis, most + 1)
    return _cut(box, axis, begin, end(begin))


def _reaching(box: Box, tiling: Tiling, axis: int) -> int:
    """Tiles of the lattice along an axis that touch a box."""
    low, high, size = box.start[axis], box.stop[axis], tiling.tile[axis]
    return sum(start < high and start + size > low for start in tiling.weights(axis))


def tune_objects(
    model: Network, crops: list[TrainingCrop], config: Config, heads: Heads, *,
    device: torch.device, bf16: bool,
) -> dict[str, Tuned]:  # fmt: skip
    """The thresholds of the best objects, per instance label that validation boxes have any of."""
    kinds = config.trained.kinds
    instances = [(k, h) for k, h in enumerate(heads) if kinds.get(h.label) == Kind.INSTANCE]
    volumes: dict[str, list[Volume]] = {head.label: [] for _, head in instances}
    share = 1.0
    for looked in look(model, crops, config, heads, device=device, bf16=bf16) if instances else ():
        share = min(share, looked.ids.shape[1] / looked.crop.grid.shape[0])
        stored = np.round(looked.probabilities * 255).astype(np.uint8)
        for k, head in instances:
            ids, known = looked.ids[k] * looked.known[k], looked.known[k]
            if ids.any():
                found = Volume(stored[heads.of(head.label)], ids, None if known.all() else known)
                volumes[head.label].append(found.central(MOST_TUNED))
    return {
        head.label: _tuned(head, volumes[head.label], config, share)
        for _, head in instances if volumes[head.label]
    }  # fmt: skip


def _tuned(head: Head, volumes: list[Volume], config: Config, share: float) -> Tuned:
    recipe = Recipe.of(Kind.INSTANCE, head, Thresholds.of(config.objects), config.objects)
    thresholds, quality = tune(
        # Objects are cut off by the few validation planes, so small pieces of them must count.
        volumes, head, recipe.thresholds, smallest=round(recipe.smallest * share),
        fill_holes=recipe.fill_holes,
    )  # fmt: skip
    return Tuned(thresholds, round(quality, 5))


def _measure(
    looked: Looked, heads: Heads, config: Config
) -> tuple[Agreement, float, np.ndarray, dict[str, Tally]]:
    ids, known = (torch.from_numpy(array)[None] for array in (looked.ids, looked.known))
    target, weight = make_targets(ids, known, heads)
    logits = torch.from_numpy(looked.probabilities)[None].logit(eps=1e-6)
    loss, _ = loss_of(logits, target, weight, heads, config.loss)
    masks = list(heads.masks)
    counts = agreement(
        looked.probabilities[masks], target[0, masks].numpy() > 0.5, weight[0, masks].numpy()
    )
    stored = np.round(looked.probabilities[masks] * 255).astype(np.uint8)
    sure = {head.label: tally(mask) for head, mask in zip(heads, stored, strict=True)}
    return counts, float(loss), looked.known.reshape(len(heads), -1).max(axis=1), sure


def _cut(box: Box, axis: int, low: int, high: int) -> Box:
    """The voxels of a box from `low` up to `high` along an axis."""
    z, y, x = (low if k == axis else n for k, n in enumerate(box.start))
    end_z, end_y, end_x = (high if k == axis else n for k, n in enumerate(box.stop))
    return Box((z, y, x), (end_z, end_y, end_x))


def _part(box: Box) -> Box:
    """The first planes of a box, if it is too large."""
    _, y, x = box.shape
    planes = max(MOST_VOXELS // (y * x), 1)
    return _cut(box, 0, box.start[0], min(box.stop[0], box.start[0] + planes))
