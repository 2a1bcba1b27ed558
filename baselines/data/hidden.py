"""Crops to predict: where they lie, as a manifest of test crops says, and where their raw is.

Two layouts are known, by what lies in a folder: a data folder of ours (`hidden/<crop>/raw`, and
`challenge/manifest.csv`), and a tree of the CellMap challenge (`test_crop_manifest.csv`, with raw
where data.raw says), as `baselines fetch --crops test` makes both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from baselines.config import DataConfig
from baselines.fetching.published import CELLMAP, CRISTA, path_of
from baselines.layout import DataError, DataFolder, Purpose
from evaluator.cellmap import labels_toml
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Label, load_manifest, parse_labels


@dataclass(frozen=True, slots=True)
class HiddenCrop:
    """A crop without annotations.

    name: its folder among predictions.  box: what of its raw is to be predicted, on the grid of its
    finest target; None: all of it.
    """

    name: str
    raw: Path
    box: VoxelGrid | None


def find_hidden(
    data: DataFolder, names: Sequence[str] = (), *, raw: str = DataConfig().raw
) -> list[HiddenCrop]:
    """The crops of a folder that are to be predicted; of them those that are named, if any.

    raw: where it lies in a tree, with {dataset} and {crop}.  names: `557` and `crop557` are one.
    Raises DataError if there are none, or not all that are named.
    """
    known = _of_tree(data.root, raw) if is_tree(data) else _of_folder(data)
    if not known:
        raise DataError(
            f"{data.root} has no test crops to predict: neither {CELLMAP.test_manifest} nor "
            f"hidden/*/raw is there. Get them with `{fetching(data.root, 'test')}`, or predict "
            "images with --image or --images."
        )
    if not names:
        return list(known.values())
    aliases = {a: name for name in known for a in (name, name.removeprefix("crop"))}
    for name in names:
        if name not in aliases:
            raise DataError(
                f"{data.root} has no test crop {name}; it has "
                f"{', '.join(known)}. Get it with `{fetching(data.root, name)}`."
            )
    chosen = {aliases[name] for name in names}
    return [crop for name, crop in known.items() if name in chosen]


def is_tree(data: DataFolder) -> bool:
    """True for a tree of the challenge with test crops."""
    return (data.root / CELLMAP.test_manifest).is_file()


def fetching(root: Path, crop: str) -> str:
    """The command that fetches crops into a folder."""
    return f"baselines fetch SOURCE --dest {root} --crops {crop}"


def manifest_at(path: Path) -> Path:
    """The manifest of test crops: the path itself, or what lies in a folder of data."""
    places = (path / layout.test_manifest for layout in (CELLMAP, CRISTA))
    return next((place for place in places if place.is_file()), path)


def label_definitions(data: DataFolder) -> dict[str, Label]:
    """The labels of a folder by name; of a tree that defines none, those of the challenge."""
    own = data.known_labels()
    return own if own or not is_tree(data) else parse_labels(labels_toml())


def _of_tree(root: Path, raw: str) -> dict[str, HiddenCrop]:
    manifest = load_manifest(root / CELLMAP.test_manifest)
    boxes = _boxes(root / CELLMAP.test_manifest)
    return {
        name: HiddenCrop(
            name, root / path_of(raw, {"dataset": crop.dataset, "crop": name}), boxes[name]
        )
        for name, crop in manifest.crops.items()
    }


def _of_folder(data: DataFolder) -> dict[str, HiddenCrop]:
    table = data.table(Purpose.HIDDEN)
    boxes = _boxes(table) if table.is_file() else {}
    names = sorted({*data.crops(Purpose.HIDDEN), *boxes})
    return {n: HiddenCrop(n, data.raw(Purpose.HIDDEN, n), boxes.get(n)) for n in names}


def _boxes(table: Path) -> dict[str, VoxelGrid]:
    grids: dict[str, list[VoxelGrid]] = {}
    for target in load_manifest(table).targets:
        grids.setdefault(target.crop.folder, []).append(target.grid)
    return {name: around(found) for name, found in grids.items()}


def around(grids: Sequence[VoxelGrid]) -> VoxelGrid:
    """A grid over all of some grids, of which there is at least one, with the finest voxels."""
    size = min((grid.voxel_size for grid in grids), key=math.prod)
    low = [min(g.offset[k] - g.voxel_size[k] / 2 for g in grids) for k in range(3)]
    high = [
        max(g.offset[k] - g.voxel_size[k] / 2 + g.extent_nm[k] for g in grids) for k in range(3)
    ]
    # Offsets such as 23837.13 nm are not exact in binary: a millionth of a voxel is noise.
    z, y, x = (
        max(1, math.ceil(round((b - a) / s, 6))) for a, b, s in zip(low, high, size, strict=True)
    )
    start_z, start_y, start_x = (a + s / 2 for a, s in zip(low, size, strict=True))
    return VoxelGrid((z, y, x), size, (start_z, start_y, start_x))
