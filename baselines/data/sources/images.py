"""Folders of images and masks, or one stack and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from baselines.config import DataConfig
from baselines.data.masks import (
    Chosen,
    Components,
    MaskRule,
    parse_rules,
    rules_of_values,
    values_in,
)
from baselines.data.pairing import Pair, pair_images
from baselines.data.sources.source import Source, SourceCrop
from baselines.data.sources.tables import specimens_of
from baselines.layout import DataError, ShapesDiffer
from baselines.volumes.images import Image, Level, open_image
from baselines.volumes.readers import Reader
from evaluator.manifest import Kind


def images_source(root: Path, config: DataConfig) -> Source:
    """One crop for each pair of an image and its mask.  Raises DataError, naming the files."""
    pairs = pair_images(root / config.images, root / config.masks, config.suffix)
    rules = parse_rules(config.classes) or _rules_found(pairs, config)
    specimens = specimens_of(root)
    crops = [
        SourceCrop(
            pair.name, pair.name, specimens.get(pair.name, pair.name),
            partial(_open_raw, pair, config),
            {name: partial(_open_mask, pair, config, rule) for name, rule in rules.items()},
        )
        for pair in pairs
    ]  # fmt: skip
    return Source(tuple(crops), {name: rule.kind for name, rule in rules.items()})


def _rules_found(pairs: Sequence[Pair], config: DataConfig) -> dict[str, MaskRule]:
    found: set[int] = set()
    for pair in pairs:
        try:
            found |= values_in(open_image(pair.mask).levels[0].reader)
        except DataError as error:
            raise DataError(f"{pair.mask}: {error}") from error
    return rules_of_values(sorted(found - {config.ignore}), most=config.max_classes)


def _open_raw(pair: Pair, config: DataConfig) -> Image:
    """The image, after its mask was found to be of the same shape."""
    raw = open_image(pair.image, voxel_size=config.voxel_size, channel=config.channel)
    mask = open_image(pair.mask)
    shape, expected = mask.finest.shape, raw.finest.shape
    if shape != expected:
        raise ShapesDiffer(
            f"{pair.mask.name} has {_said(shape)}, its image {pair.image.name} {_said(expected)}: "
            "image and mask need the same slices, height and width."
        )
    return raw


def _said(shape: Sequence[int]) -> str:
    return f"{shape[0]} slices of {shape[1]} x {shape[2]}"


def _open_mask(pair: Pair, config: DataConfig, rule: MaskRule) -> Image:
    """The annotation of one label.  It lies where its image lies, whatever its own file says."""
    raw = _open_raw(pair, config)
    reader: Reader = Chosen(open_image(pair.mask).levels[0].reader, rule, config.ignore)
    if rule.kind is Kind.INSTANCE and rule.values:
        reader = Components(reader)
    return Image(str(pair.mask), (Level(reader, raw.finest),))
