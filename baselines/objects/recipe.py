"""How a label is made of its stored probabilities, kept beside them: it can be made again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from baselines.box import Box, blocks_of
from baselines.config import ConfigError, ObjectsConfig
from baselines.layout import DataError
from baselines.objects.decoding import Thresholds, mask_of
from baselines.objects.heads import Head
from baselines.objects.stitching import stitch
from baselines.progress import Progress
from evaluator.manifest import Kind

_SLAB = (64, 512, 512)  # of a mask, made at once


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a label is, and what makes its mask or its objects of probabilities."""

    kind: Kind
    head: Head
    thresholds: Thresholds
    smallest_nm3: float = 0.0
    fill_holes: bool = True

    @classmethod
    def of(
        cls, kind: Kind, head: Head, thresholds: Thresholds, config: ObjectsConfig
    ) -> Recipe:  # fmt: skip
        """As the settings of a run say."""
        smallest = config.smallest.get(head.label, config.smallest_nm3)
        return cls(kind, head, thresholds, smallest, config.fill_holes)

    @property
    def smallest(self) -> int:
        """The least number of voxels of an object."""
        return round(self.smallest_nm3 / math.prod(self.head.voxel_size))

    def changed(self, changes: Mapping[str, float | bool]) -> Recipe:
        """With other thresholds, smallest_nm3 or fill_holes.  Raises ConfigError for others."""
        own = {"smallest_nm3", "fill_holes"}
        known = own | {field.name for field in dataclasses.fields(Thresholds)}
        if unknown := sorted(set(changes) - known):
            raise ConfigError(
                f"{', '.join(unknown)} cannot be set for objects; what can is "
                f"{', '.join(sorted(known))}."
            )
        new: dict[str, Any] = {name: value for name, value in changes.items() if name in own}
        cuts = {name: float(value) for name, value in changes.items() if name not in own}
        return dataclasses.replace(
            self, **new, thresholds=dataclasses.replace(self.thresholds, **cuts)
        )

    def to_json(self) -> dict[str, Any]:
        """As attributes of an array."""
        return {
            "kind": str(self.kind), "head": self.head.to_json(),
            "thresholds": self.thresholds.to_json(), "smallest_nm3": self.smallest_nm3,
            "fill_holes": self.fill_holes,
        }  # fmt: skip


def keep_recipe(stored: zarr.Array[Any], recipe: Recipe) -> None:
    """Write down, with the probabilities, how their label was made."""
    stored.attrs.update(recipe.to_json())


def recipe_of(stored: zarr.Array[Any]) -> Recipe:
    """The recipe kept with probabilities.  Raises DataError if there is none."""
    about: dict[str, Any] = stored.attrs.asdict()
    try:
        return Recipe(
            Kind(about["kind"]), Head.from_json(about["head"]), Thresholds(**about["thresholds"]),
            float(about["smallest_nm3"]), bool(about["fill_holes"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{stored.store_path} does not say how its label was made ({error!r} is missing or "
            "wrong): predict again."
        ) from error


def make_label(
    stored: zarr.Array[Any], out: zarr.Array[Any], recipe: Recipe, *,
    scratch: Path | None = None, progress: Progress = lambda _: None,
) -> int | None:  # fmt: skip
    """Write the mask or the objects of a label; how many objects, None for a mask.

    stored: uint8 (Z, Y, X), or (channels, Z, Y, X).  out: (Z, Y, X), uint8 or uint32.
    scratch: where arrays as large as `out` may lie meanwhile.
    """

    def read(box: Box) -> np.ndarray:
        index = box.slices if stored.ndim == 3 else (slice(None), *box.slices)
        return np.asarray(stored[index]).reshape(-1, *box.shape)

    if recipe.kind is Kind.INSTANCE:
        return stitch(
            read, out, recipe.head, recipe.thresholds, smallest=recipe.smallest,
            fill_holes=recipe.fill_holes, scratch=scratch, progress=progress,
        )  # fmt: skip
    z, y, x = out.shape
    for box in blocks_of((z, y, x), _SLAB):
        out[box.slices] = mask_of(read(box)[0], recipe.thresholds.mask)
    return None
