"""Which mask belongs to which image: the mask's name is the image's, and a suffix alike for all.

An image's name without its ending identifies it: `0001.tif` is 0001, and its mask may be
`0001_mask.png` (suffix `_mask.png`) or `0001.png` (suffix `.png`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from baselines.layout import DataError
from baselines.volumes.images import is_image

ENDINGS = (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ".png", ".zarr")


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask.  name: the image's, without ending."""

    name: str
    image: Path
    mask: Path


def pair_images(images: Path, masks: Path, suffix: str = "") -> list[Pair]:
    """The pairs in two folders, or the one pair of two files, in order of names.

    suffix: what follows the image's name in a mask's; empty: inferred over all of them.
    Raises DataError: nothing there, a name twice, an image without mask, or more than one suffix
    fits.
    """
    if images.is_file() and masks.is_file():
        return [Pair(stem(images.name), images, masks)]
    found, there = images_in(images), {path.name: path for path in _entries(masks)}
    suffix = suffix or infer_suffix(list(found), list(there))
    if lost := [name for name in found if name + suffix not in there]:
        raise DataError(
            f"{len(lost)} of {len(found)} images have no mask: {', '.join(lost[:5])}; expected "
            f"{masks / (lost[0] + suffix)}. Add the masks, or remove the images."
        )
    return [Pair(name, path, there[name + suffix]) for name, path in found.items()]


def images_in(folder: Path) -> dict[str, Path]:
    """Images by name without ending, in order.  Raises DataError: none, or a name twice."""
    paths = _entries(folder)
    if not paths:
        raise DataError(f"{folder} holds no TIFF, PNG or Zarr images: put some there.")
    names = Counter(stem(path.name) for path in paths)
    if twice := sorted(name for name, count in names.items() if count > 1):
        same = [path.name for path in paths if stem(path.name) == twice[0]]
        raise DataError(
            f"{folder}: {' and '.join(same)} have one name; names of images are unique. Rename one."
        )
    return {stem(path.name): path for path in paths}


def stem(name: str) -> str:
    """A file's name without its ending; a folder's has none."""
    ending = next((end for end in ENDINGS if name.lower().endswith(end)), "")
    return name[: len(name) - len(ending)]


def infer_suffix(images: Sequence[str], masks: Sequence[str]) -> str:
    """The one suffix by which every image has a mask.

    Of several, the one that leaves no mask over.  Raises DataError: none fits, or more than one.
    """
    by_image = {name: {m[len(name) :] for m in masks if m.startswith(name)} for name in images}
    fitting = sorted(set.intersection(*by_image.values()))
    if len(fitting) > 1:
        whole = [s for s in fitting if {name + s for name in images} == set(masks)]
        fitting = whole or fitting
    if not fitting:
        raise DataError(_nothing_fits(by_image, masks))
    if len(fitting) > 1:
        raise DataError(
            f"every image has several masks, with the suffixes {', '.join(map(repr, fitting))}: "
            "say which with data.suffix."
        )
    return fitting[0]


def _nothing_fits(by_image: Mapping[str, set[str]], masks: Sequence[str]) -> str:
    counts = Counter(suffix for suffixes in by_image.values() for suffix in suffixes)
    if not counts:
        return (
            f"no mask belongs to an image: images are {', '.join(list(by_image)[:5])}, masks "
            f"{', '.join(list(masks)[:5]) or 'none'}; a mask's name begins with its image's. "
            "Add the masks, or rename them so."
        )
    near, most = counts.most_common(1)[0]
    lost = [name for name, suffixes in by_image.items() if near not in suffixes]
    return (
        f"no suffix fits all masks: {near!r} fits {most} of {len(by_image)} images, but not "
        f"{', '.join(lost[:5])}. Add the masks, or rename them alike."
    )


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(
            f"{folder} is missing: expected a folder of images. Those to train on are named by "
            "data.images and data.masks."
        )
    return sorted(path for path in folder.iterdir() if is_image(path))
