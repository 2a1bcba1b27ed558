"""Pictures of what went wrong in a target: truth, prediction and errors in slices of three axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from evaluator.errors import EvaluatorError
from evaluator.geometry import Nanometres
from evaluator.results.explain import Box, Explanation, Objects, plane_errors

PANEL = 200  # pixels of a panel's longer side, at most
MARGIN = 0.4  # of an object's box, shown around it
LEAST = 24  # voxels shown along each axis
GAP, LINE = 8, 18  # pixels
MOST = 6  # objects in a montage

# Colours that everybody can tell apart: errors as Okabe and Ito have them, objects as Tol does.
PAGE, GROUND, TEXT = (18, 18, 22), (40, 40, 46), (235, 235, 240)
BOTH, MISSED, FALSE, OTHER = (100, 100, 106), (230, 159, 0), (86, 180, 233), (204, 121, 167)
LEGEND = (
    (BOTH, "right"),
    (MISSED, "in the truth alone"),
    (FALSE, "in the prediction alone"),
    (OTHER, "in both, but of another object"),
)
ALONE = (225, 225, 225)
CYCLE = (
    (119, 170, 221), (238, 136, 102), (238, 221, 136), (255, 170, 187),
    (68, 187, 153), (187, 204, 51), (153, 221, 255), (170, 170, 0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spot:
    """A place worth looking at.  at: the voxel (Z, Y, X) its slices go through."""

    title: str
    at: tuple[int, int, int]
    box: Box


def spots(told: Explanation) -> list[Spot]:
    """The worst objects, or the worst planes of a semantic label; empty if nothing is wrong."""
    if told.objects is None:
        return _worst_planes(told)
    found: dict[int | tuple[int, int], Spot] = {}
    for key, title, box in _worst_objects(told.objects):
        if key not in found and len(found) < MOST:
            at = _inside(told, key, box)
            found[key] = Spot(f"{title}, z {at[0]} y {at[1]} x {at[2]}", at, box)
    return list(found.values())


def draw(told: Explanation) -> Image.Image:
    """The montage: a band per spot, and below them what the colours mean."""
    bands = [_band(told, spot) for spot in spots(told)]
    head = told.target.path if bands else f"{told.target.path}: nothing is wrong here"
    width = max([band.width for band in bands] + [760])
    height = sum(band.height for band in bands) + 3 * LINE + GAP * (len(bands) + 2)
    image = Image.new("RGB", (width + 2 * GAP, height), PAGE)
    pen = ImageDraw.Draw(image)
    _write(pen, (GAP, GAP), head)
    y = GAP + LINE + GAP
    for band in bands:
        image.paste(band, (GAP, y))
        y += band.height + GAP
    _legend(pen, y)
    return image


def save(image: Image.Image, path: Path) -> None:
    """Write a PNG.  Raises EvaluatorError."""
    try:
        image.save(path, "PNG")
    except OSError as error:
        raise EvaluatorError(f"{path} cannot be written: {error.strerror}.") from error


def _worst_objects(
    objects: Objects,
) -> Iterator[tuple[int | tuple[int, int], str, Box]]:  # fmt: skip
    """Key (predicted objects count below 0), title and box of the worst, kinds taking turns."""
    lowest = [
        ((p.truth.number, p.pred.number), f"truth {p.truth.id}, IoU {p.iou:.3f}", p.box)
        for p in objects.pairs
        if p.iou < 1
    ]
    farthest = [
        (
            (p.truth.number, p.pred.number),
            f"truth {p.truth.id}, {p.hausdorff_nm:.0f} nm apart",
            p.box,
        )
        for p in sorted(objects.pairs, key=lambda p: -p.hausdorff_nm)
        if p.hausdorff_nm > 0
    ]
    missed = [(o.number, f"truth {o.id} is missed, {o.voxels} voxels", o.box)
              for o in objects.missed]  # fmt: skip
    false = [(-o.number, f"predicted {o.id} is false, {o.voxels} voxels", o.box)
             for o in objects.false]  # fmt: skip
    kinds = (missed, lowest, false, farthest)
    for rank in range(min(MOST, max(len(kind) for kind in kinds))):
        for kind in kinds:
            yield from kind[rank : rank + 1]


def _inside(
    told: Explanation, key: int | tuple[int, int], box: Box
) -> tuple[int, int, int]:  # fmt: skip
    """A voxel where the objects of a box are wrong, near its middle: the median one."""
    truth, pred = told.truth[box], told.pred[box]
    if isinstance(key, tuple):
        wrong = (truth == key[0]) != (pred == key[1])
        if not wrong.any():  # nothing, but a collision of numbers
            wrong = truth == key[0]
    else:
        wrong = truth == key if key > 0 else pred == -key
    voxels = np.argwhere(wrong)
    z, y, x = (voxels[len(voxels) // 2] + [side.start for side in box]).tolist()
    return (z, y, x)


def _worst_planes(told: Explanation) -> list[Spot]:
    """Along each axis the plane with the most wrong voxels, whole."""
    whole = tuple(slice(0, n) for n in told.truth.shape)
    wrong = [sum(plane_errors(told, axis)[:2]) for axis in range(3)]
    if not np.any(wrong[0]):
        return []
    z, y, x = (int(np.argmax(counts)) for counts in wrong)
    counts = ", ".join(
        f"{axis} {at} has {int(np.max(errors))} wrong voxels"
        for axis, at, errors in zip("zyx", (z, y, x), wrong, strict=True)
    )
    return [Spot(f"worst planes: {counts}", (z, y, x), (whole[0], whole[1], whole[2]))]


def _band(told: Explanation, spot: Spot) -> Image.Image:
    """Nine panels in a row under a title: for each axis truth, prediction, errors."""
    box = _wider(spot.box, told.truth.shape)
    panels = [panel for axis in range(3) for panel in _panels(told, spot, box, axis)]
    height = 2 * LINE + max(panel.height for _, panel in panels)
    band = Image.new("RGB", (len(panels) * (PANEL + GAP), height), PAGE)
    pen = ImageDraw.Draw(band)
    _write(pen, (0, 0), spot.title)
    for index, (caption, panel) in enumerate(panels):
        _write(pen, (index * (PANEL + GAP), LINE), caption)
        band.paste(panel, (index * (PANEL + GAP), 2 * LINE))
    return band


def _panels(
    told: Explanation, spot: Spot, box: Box, axis: int
) -> Iterator[tuple[str, Image.Image]]:  # fmt: skip
    """Captions and pictures of the slice across an axis."""
    cut = tuple(spot.at[other] if other == axis else side for other, side in enumerate(box))
    truth, pred = told.truth[cut], told.pred[cut]
    size = _size(truth.shape, told.target.grid.voxel_size, axis)
    for caption, picture in (
        (f"{'zyx'[axis]} {spot.at[axis]}: truth", _coloured(truth)),
        ("prediction", _coloured(_as_partners(told, pred))),
        ("errors", _errors(told, truth, pred)),
    ):
        yield caption, Image.fromarray(picture).resize(size, Image.Resampling.NEAREST)


def _wider(box: Box, shape: tuple[int, ...]) -> Box:
    """A box with a margin, within the crop."""
    sides = []
    for side, n in zip(box, shape, strict=True):
        length = side.stop - side.start
        more = max(int(length * MARGIN), -(-(LEAST - length) // 2), 1)
        sides.append(slice(max(0, side.start - more), min(n, side.stop + more)))
    return (sides[0], sides[1], sides[2])


def _size(shape: tuple[int, ...], voxel_size: Nanometres, axis: int) -> tuple[int, int]:
    """Width and height in pixels of a slice across an axis, in the proportions of the specimen."""
    rows, columns = (n * voxel_size[other] for n, other in zip(
        shape, [other for other in range(3) if other != axis], strict=True))  # fmt: skip
    scale = PANEL / max(rows, columns)
    return max(1, round(columns * scale)), max(1, round(rows * scale))


def _as_partners(told: Explanation, pred: np.ndarray) -> np.ndarray:
    """Predicted objects under the numbers of their counterparts, -1 without one."""
    if told.objects is None:
        return pred
    partner = np.full(int(told.pred.max(initial=0)) + 1, -1)
    partner[0] = 0
    for pair in told.objects.pairs:
        partner[pair.pred.number] = pair.truth.number
    return np.asarray(partner[pred])


def _coloured(numbers: np.ndarray) -> np.ndarray:
    """Objects in colours that go round; light grey for what is alone, and for masks."""
    palette = np.array([ALONE, GROUND, *CYCLE], np.uint8)
    if numbers.dtype == bool:
        return palette[np.where(numbers, 0, 1)]
    going_round = (numbers.astype(np.int64) - 1) % len(CYCLE) + 2
    return palette[np.where(numbers > 0, going_round, numbers.astype(np.int64) + 1)]


def _errors(told: Explanation, truth: np.ndarray, pred: np.ndarray) -> np.ndarray:
    """What is right and wrong in a slice."""
    picture = np.empty((*truth.shape, 3), np.uint8)
    picture[...] = GROUND
    both = (truth > 0) & (pred > 0)
    picture[both] = BOTH
    if told.objects is not None:
        picture[both & (_as_partners(told, pred) != truth)] = OTHER
    picture[(truth > 0) & (pred == 0)] = MISSED
    picture[(truth == 0) & (pred > 0)] = FALSE
    return picture


def _legend(pen: ImageDraw.ImageDraw, y: int) -> None:
    x = GAP
    for colour, text in LEGEND:
        pen.rectangle((x, y + 2, x + 12, y + 14), fill=colour)
        _write(pen, (x + 18, y), text)
        x += 18 + int(pen.textlength(text, ImageFont.load_default(13))) + 24


def _write(pen: ImageDraw.ImageDraw, at: Sequence[int], text: str) -> None:
    pen.text((at[0], at[1]), text, TEXT, ImageFont.load_default(13))
