"""Annotated crops as any layout tells of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from baselines.volumes.images import Image
from evaluator.manifest import Kind

Open = Callable[[], Image]


@dataclass(frozen=True)
class SourceCrop:
    """A crop that can be opened.  labels: its annotations; an absent one was not annotated here.

    Ids of an annotation: 0 is absent, -1 where nobody looked.
    """

    name: str
    dataset: str
    specimen: str
    raw: Open
    labels: Mapping[str, Open]


@dataclass(frozen=True)
class Source:
    """Crops in order of names, and the kind of each label.

    contains: of group labels, the labels they consist of.
    masks: an annotation of an instance label that has but one value may be a mask of all objects.
    """

    crops: tuple[SourceCrop, ...]
    kinds: Mapping[str, Kind]
    contains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masks: bool = False

    @property
    def labels(self) -> list[str]:
        """Labels that are annotated in some crop, sorted."""
        return sorted({label for crop in self.crops for label in crop.labels})
