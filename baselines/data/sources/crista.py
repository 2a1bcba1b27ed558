"""A data folder of ours: train.csv, and train/<crop>/raw and labels/<label>."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from baselines.box import Box
from baselines.config import DataConfig
from baselines.data.sources.source import Open, Source, SourceCrop
from baselines.data.sources.tables import are_black, contents_of, fetched_below, specimens_of
from baselines.layout import DataFolder, Purpose, ShapesDiffer
from baselines.volumes.images import Image, open_image
from baselines.volumes.levels import box_on
from evaluator.manifest import Target


def crista_source(root: Path, config: DataConfig) -> Source:
    """The training crops of a data folder.  Raises DataError if it has none."""
    folder = DataFolder(root)
    manifest = folder.manifest(Purpose.TRAIN)
    specimens = specimens_of(root)
    labels = manifest.labels | folder.known_labels()
    crops = []
    for name, crop in manifest.crops.items():
        said = next(t.grid.voxel_size for t in manifest.targets if t.crop.folder == name)
        raw = partial(
            open_image, folder.raw(Purpose.TRAIN, name), voxel_size=config.voxel_size or said,
            fetched=fetched_below(root), black=are_black(root, config, ours=True),
        )  # fmt: skip
        annotated = {
            target.label.name: partial(
                _open_label, target, folder.label(Purpose.TRAIN, target), raw
            )
            for target in manifest.targets
            if target.crop.folder == name
        }
        specimen = specimens.get(crop.dataset, crop.dataset)
        crops.append(SourceCrop(name, crop.dataset, specimen, raw, annotated))
    kinds = {name: label.kind for name, label in labels.items()}
    return Source(tuple(crops), kinds, contents_of(labels))


def _open_label(target: Target, path: Path, raw: Open) -> Image:
    """An annotation, after it was found to lie within its raw."""
    image, whole = open_image(path, voxel_size=target.grid.voxel_size), raw().finest
    if box_on(image.finest, whole) != Box((0, 0, 0), image.finest.shape):
        raise ShapesDiffer(
            f"{target.path}: the annotation reaches beyond its raw: it has shape "
            f"{image.finest.shape}, its raw has {whole.shape} (offsets {image.finest.offset} and "
            f"{whole.offset} nm). Import the crop again."
        )
    return image
