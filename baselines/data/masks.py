"""From the values of a mask to labels.

mito = "2:instance"      voxels of value 2; objects are what hangs together
er = "1,3:semantic"      voxels of these values
cell = "ids:instance"    every value but 0 is an object's id
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from baselines.box import Box, blocks_of, common_box
from baselines.config.rules import CLASS
from baselines.layout import DataError, TooManyClasses
from baselines.volumes.components import components
from baselines.volumes.readers import Reader
from evaluator.geometry import Shape
from evaluator.manifest import Kind

LARGEST_ID = 2**31 - 1
PRIME = 2_147_483_629  # not 2^31 - 1: ids are often made of powers of two
_SLAB = 1 << 26  # voxels read at once


@dataclass(frozen=True, slots=True)
class MaskRule:
    """values: those of a label; empty: every value but 0 is an object's id."""

    values: tuple[int, ...]
    kind: Kind


IDS = MaskRule((), Kind.INSTANCE)


@dataclass(frozen=True)
class Chosen:
    """The ids of a label in a mask with several: 0 is absent, -1 where the mask says `ignore`."""

    source: Reader
    rule: MaskRule
    ignore: int = -1

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.source.shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """int8 of a mask; of ids, a type that an int32 holds."""
        values = self.source.read(start, stop)
        rule = self.rule
        found = np.isin(values, rule.values).view(np.int8) if rule.values else narrow(values)
        if self.ignore < 0:
            return found
        signed = found.astype(np.promote_types(np.int8, found.dtype))
        signed[values == self.ignore] = -1
        return signed


@dataclass(frozen=True)
class Unseen:
    """Ids of which some boxes count as not looked at, -1: those where there is no raw."""

    source: Reader
    boxes: Sequence[Box]

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.source.shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A type that an int32 holds, with a sign."""
        found, asked = narrow(self.source.read(start, stop)), Box(start, stop)
        signed = found.astype(np.promote_types(np.int8, found.dtype))
        for box in self.boxes:
            if common_box(box, asked) is not None:
                signed[box.within(asked)] = -1
        return signed


@dataclass(frozen=True)
class Components:
    """What hangs together in a mask, by faces, as objects.  Looks at all of it when first read."""

    source: Reader

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.source.shape

    @cached_property
    def ids(self) -> np.ndarray:
        """int32; -1 where nobody looked."""
        values = self.source.read((0, 0, 0), self.shape)
        found = components(values > 0, smallest=1).astype(np.int32)
        found[values < 0] = -1
        return found

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box of the ids."""
        found: np.ndarray = self.ids[Box(start, stop).slices]
        return found


@dataclass(frozen=True)
class Union:
    """A group: 1 where any of its labels is, -1 where nobody looked for one and none is."""

    sources: tuple[Reader, ...]

    @property
    def shape(self) -> Shape:
        """Voxels (Z, Y, X)."""
        return self.sources[0].shape

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """int8."""
        parts = [source.read(start, stop) for source in self.sources]
        present = np.logical_or.reduce([part > 0 for part in parts])
        unknown = np.logical_or.reduce([part < 0 for part in parts])
        return np.where(present, 1, np.where(unknown, -1, 0)).astype(np.int8)


def narrow(ids: np.ndarray) -> np.ndarray:
    """Ids in a type that an int32 holds; larger ones by their remainder, so that objects stay.

    Raises DataError for what is no whole number.
    """
    if ids.dtype.kind not in "bui":
        raise DataError(f"ids are whole numbers; a mask holds {ids.dtype}: save it as such.")
    if np.can_cast(ids.dtype, np.int32):
        return ids
    if ids.size and int(ids.max()) > LARGEST_ID:
        wide = ids.astype(np.uint64)
        ids = np.where(wide > LARGEST_ID, wide % PRIME + 1, wide)
    return ids.astype(np.int32)


def parse_rules(classes: Mapping[str, str]) -> dict[str, MaskRule]:
    """The rules that data.classes gives, which is checked with all settings (`config.rules`)."""
    rules = {}
    for name, text in classes.items():
        found = re.fullmatch(CLASS, text.replace(" ", ""))
        if found is None:
            raise DataError(
                f"data.classes.{name} is {text!r}, which is no rule; rules are like '2:instance', "
                "'1,2:semantic' and 'ids:instance'."
            )
        values = tuple(map(int, found[1].split(","))) if found[1] else ()
        rules[name] = MaskRule(values, Kind(found[2])) if values else IDS
    return rules


def rules_of_values(values: Sequence[int], *, most: int) -> dict[str, MaskRule]:
    """A semantic label for every value but 0; a mask of 0 and one value is binary, whatever it is.

    Raises DataError: no value at all, or more than `most`.
    """
    found = sorted(set(values) - {0})
    if not found:
        raise DataError(
            "all masks are empty: no voxel is annotated as anything but 0. Annotate some objects, "
            "or set data.masks to where masks lie."
        )
    if len(found) > most:
        listed = ", ".join(map(str, found[:20])) + (", …" if len(found) > 20 else "")
        raise TooManyClasses(
            f"masks hold {len(found)} classes ({listed}), more than data.max_classes = {most}: if "
            "these are ids of objects, set data.classes (NAME = 'ids:instance')."
        )
    if len(found) == 1:
        return {"class1": MaskRule((found[0],), Kind.SEMANTIC)}
    return {f"class{value}": MaskRule((value,), Kind.SEMANTIC) for value in found}


def values_in(reader: Reader) -> set[int]:
    """Values of a mask.  Raises DataError if they are no whole numbers."""
    _, height, width = reader.shape
    found: set[int] = set()
    for slab in blocks_of(reader.shape, (max(1, _SLAB // (height * width)), height, width)):
        part = reader.read(slab.start, slab.stop)
        if part.dtype.kind not in "bui":
            raise DataError(
                f"masks hold whole numbers; this one holds {part.dtype}. Save it as such, with 0 "
                "for background."
            )
        found.update(np.unique(part).tolist())
    return {int(value) for value in found}
