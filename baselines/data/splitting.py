"""`baselines split`: annotated crops, without those that the filters leave out, and their folds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from baselines.box import Box, box_around
from baselines.config import Config, SplitConfig
from baselines.data.blocks import sight_of
from baselines.data.crops import TrainingCrop, load_crops
from baselines.data.foreground import find_foreground
from baselines.data.sources import Source, open_source
from baselines.data.split import Part, Places, places_of, rows_of
from baselines.data.split_file import Row, RowBlock, SplitFile
from baselines.progress import Progress


def make_split(data: Path, config: Config, *, progress: Progress = print) -> SplitFile:
    """A split of the annotated crops in a folder, by config.data and config.split.

    Filters are those of training: a label without a voxel is an error (data.skip_empty: left out),
    annotations coarser than data.coarsest allows and, with data.drop_empty, crops without a voxel
    of any label are left out.  Arrays of zeros alone are kept otherwise: absent is an annotation.
    """
    whole = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, cache_gb=0.0),
        split=SplitConfig(kind="planes", fraction=0.0),  # nothing is kept: counts are of all
    )
    labels, crops = load_crops(data, whole, progress=progress)
    parts, sight = [part_of(crop) for crop in crops], sight_of(config)
    places = places_of(parts, config.split, sight)
    crop_of = {crop.name: crop for crop in crops}
    paths = _paths(open_source(data, config.data), data)
    rows = tuple(
        dataclasses.replace(
            row,
            raw=paths[row.name][""],
            paths={name: paths[row.name][name] for name in row.voxels if name in paths[row.name]},
            blocks=_counted(row.blocks, places[row.name], crop_of[row.name]),
        )
        for row in rows_of(parts, config.split, sight)
    )
    return SplitFile(rows, _about(labels, rows, config))


def _counted(
    blocks: Sequence[RowBlock], places: Places, crop: TrainingCrop
) -> tuple[RowBlock, ...]:
    """Blocks with the voxels of each label in them."""
    boxes = {place.fold: place.block.box for place in places if place.block is not None}
    return tuple(
        dataclasses.replace(
            block,
            voxels=dict(find_foreground(crop.labels, crop.known, [boxes[block.fold]]).count),
        )
        for block in blocks
    )


def part_of(crop: TrainingCrop) -> Part:
    """What a split needs to know of a crop of which all trains."""
    box: Box = box_around(crop.training)
    return Part(crop.name, crop.dataset, crop.specimen, box, crop.count, crop.grid)


def describe(split: SplitFile) -> Iterator[str]:
    """Lines for a person: crops and voxels of each label by fold, and what is lacking."""
    labels = sorted({label for row in split.rows for label in row.voxels})
    folds = _folds(split.rows)
    for fold in folds:
        kept = [found for row in split.rows if (found := _kept(row, fold)) is not None]
        voxels = {name: sum(found.get(name, 0) for found in kept) for name in labels}
        listed = ", ".join(f"{name} {count:,}" for name, count in voxels.items())
        parted = " (a block)" if any(row.blocks for row in split.rows) else ""
        yield f"fold {fold}: validates on {len(kept)} of {len(split.rows)} crops{parted}: {listed}"
        for name in labels:
            if not voxels[name]:
                yield f"warning: fold {fold} has no {name} to validate on"
            if not any(_left(row, fold, name) for row in split.rows):
                yield f"warning: fold {fold} has no {name} to train on"
    if not folds:
        yield f"all {len(split.rows)} crops train: nothing is kept to validate on"


def _folds(rows: Sequence[Row]) -> list[int]:
    """The folds that validate on something, in order."""
    of_blocks = {block.fold for row in rows for block in row.blocks}
    return sorted({row.fold for row in rows if row.fold >= 0} | of_blocks)


def _kept(row: Row, fold: int) -> Mapping[str, int] | None:
    """Voxels of labels on which a fold validates; of a box that was not counted, the crop's."""
    if row.fold == fold:
        return row.voxels
    return next((block.voxels for block in row.blocks if block.fold == fold), None)


def _left(row: Row, fold: int, label: str) -> bool:
    """Whether a fold may have voxels of a label to train on; gaps are not looked into."""
    block = next((block for block in row.blocks if block.fold == fold), None)
    if block is not None:
        return row.voxels.get(label, 0) > block.voxels.get(label, 0)
    whole = row.fold == fold and row.validation is None
    return not whole and row.voxels.get(label, 0) > 0


def _about(
    labels: list[str], rows: tuple[Row, ...], config: Config
) -> dict[str, str | int | float | list[str | float]]:
    split = config.split
    return {
        "labels": list(labels), "folds": max(1, len(_folds(rows))), "kind": split.kind,
        "by": split.by, "fraction": split.fraction, "seed": split.seed, "apart": split.apart,
        "voxel_size": list(config.data.voxel_size),
    }  # fmt: skip


def _paths(source: Source, root: Path) -> Mapping[str, Mapping[str, str]]:
    """Where the raw ("") and each label of a crop lie, below the root if they do."""
    found = {}
    for crop in source.crops:
        images = {"": crop.raw(), **{name: opened() for name, opened in crop.labels.items()}}
        found[crop.name] = {name: _below(image.where, root) for name, image in images.items()}
    return found


def _below(where: str, root: Path) -> str:
    path = Path(where)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else where
