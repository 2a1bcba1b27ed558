"""`baselines split`: annotated crops, without those that the filters leave out, and their folds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from baselines.box import Box, box_around
from baselines.config import Config, SplitConfig
from baselines.data.crops import TrainingCrop, load_crops
from baselines.data.sources import Source, open_source
from baselines.data.split import Part, fold_count, rows_of
from baselines.data.split_file import Row, SplitFile
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
    rows = rows_of([part_of(crop) for crop in crops], config.split)
    paths = _paths(open_source(data, config.data), data)
    rows = tuple(
        dataclasses.replace(
            row,
            raw=paths[row.name][""],
            paths={name: paths[row.name][name] for name in row.voxels if name in paths[row.name]},
        )
        for row in rows
    )
    return SplitFile(rows, _about(labels, rows, config))


def part_of(crop: TrainingCrop) -> Part:
    """What a split needs to know of a crop of which all trains."""
    box: Box = box_around(crop.training)
    return Part(crop.name, crop.dataset, crop.specimen, box, crop.count, crop.grid)


def describe(split: SplitFile) -> Iterator[str]:
    """Lines for a person: crops and voxels of each label by fold, and what is lacking."""
    labels = sorted({label for row in split.rows for label in row.voxels})
    folds = sorted({row.fold for row in split.rows if row.fold >= 0})
    for fold in folds:
        kept = [row for row in split.rows if row.fold == fold]
        whole = [row for row in kept if row.validation is None]
        left = [row for row in split.rows if row not in whole]
        voxels = ", ".join(f"{name} {_voxels(kept, name):,}" for name in labels)
        yield f"fold {fold}: validates on {len(kept)} of {len(split.rows)} crops: {voxels}"
        for name in labels:
            if not _voxels(kept, name):
                yield f"warning: fold {fold} has no {name} to validate on"
            if not _voxels(left, name):
                yield f"warning: fold {fold} has no {name} to train on"
    if not folds:
        yield f"all {len(split.rows)} crops train: nothing is kept to validate on"


def _voxels(rows: list[Row], label: str) -> int:
    return sum(row.voxels.get(label, 0) for row in rows)


def _about(
    labels: list[str], rows: tuple[Row, ...], config: Config
) -> dict[str, str | int | float | list[str | float]]:
    split = config.split
    folds = fold_count(len({row.fold for row in rows if row.fold >= 0}), len(rows))
    return {
        "labels": list(labels), "folds": folds, "kind": split.kind, "by": split.by,
        "fraction": split.fraction, "seed": split.seed, "apart": split.apart,
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
