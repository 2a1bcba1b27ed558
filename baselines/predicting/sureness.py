"""What is told of a prediction's uncertainty and doubt: numbers, a line, a warning; see `doubt`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from baselines.box import blocks_of
from baselines.predicting.doubt import Tally, Usual, parts_of, tally
from baselines.predicting.output import grid_of
from baselines.predicting.team import Team
from baselines.progress import counted

_BLOCK = (64, 512, 512)  # read at once


@dataclass(frozen=True)
class Sureness:
    """Of an image.

    name: of the image.  uncertain, doubted: whether stored arrays tell uncertainty, and doubt.
    usual: None if nobody knows.
    """

    name: str
    labels: Mapping[str, Tally]
    uncertain: bool
    doubted: bool
    usual: Usual | None

    @property
    def overall(self) -> Tally:
        """Of the foreground of all labels together."""
        return sum(self.labels.values(), Tally())

    @property
    def limit(self) -> float | None:
        """The doubt that images with as much of each label usually stay below; None: unknown."""
        parts = parts_of(self.labels)
        return None if self.usual is None or not parts else self.usual.limit(parts)

    @property
    def unlike(self) -> bool | None:
        """Whether doubt is above what is usual; None: nobody knows."""
        doubt = self.overall.mean_doubt
        if self.limit is None or doubt is None or not self.doubted:
            return None
        return doubt > self.limit

    @property
    def doubtful(self) -> list[str]:
        """Labels that make an image unlike others, the first the most.

        Those that bring in at least half as much more doubt than usual as the first of them.
        """
        if not self.unlike or self.usual is None or not self.usual.labels:
            return []
        more = {
            label: part.share * (part.doubt - self.usual.of(label))
            for label, part in parts_of(self.labels).items()
        }
        most = max(more.values())
        return sorted((n for n in more if more[n] >= most / 2), key=lambda n: -more[n])

    def told(self, label: str = "") -> dict[str, Any]:
        """For metadata.json: of a label, or of the image.

        uncertainty, doubt: means over the predicted foreground, 0 .. 1; None where nothing is
        predicted, or stored arrays do not tell.  validation_doubt: the mean of validation images.
        """
        found = self.labels[label] if label else self.overall
        means = {
            "uncertainty": found.mean_uncertainty if self.uncertain else None,
            "doubt": found.mean_doubt if self.doubted else None,
        }
        told = {name: mean if mean is None else round(mean, 5) for name, mean in means.items()}
        if label:
            known = None if self.usual is None else self.usual.labels.get(label)
            return told | {"validation_doubt": None if known is None else round(known, 5)}
        return told | {
            "usual_doubt": None if self.limit is None else round(self.limit, 5),
            "out_of_distribution": self.unlike, "doubtful_labels": self.doubtful,
        }  # fmt: skip

    @property
    def line(self) -> str:
        """The numbers of the image; empty if there are none."""
        if not self.overall.voxels:
            return f"{self.name}: no voxel is more likely of a label than not"
        told = self.told()
        known = [f"{n} {told[n]:.3f}" for n in ("uncertainty", "doubt") if told[n] is not None]
        usual = "" if self.unlike is None else f" (usual is up to {told['usual_doubt']:.3f})"
        return f"{self.name}: {', '.join(known)}{usual}" if known else ""

    @property
    def warning(self) -> str:
        """A sentence about an image unlike those of the training; empty for others."""
        doubt = self.overall.mean_doubt
        if not self.unlike or self.usual is None or doubt is None:
            return ""
        likewise = ", with as much of each label," if self.usual.labels else ""
        above = [
            f"{n} ({self.labels[n].mean_doubt:.3f}, usually {self.usual.of(n):.3f})"
            for n in self.doubtful
        ]
        where = f" It is doubted most beyond the usual in {', '.join(above)}." if above else ""
        return (
            f"{self.name} is unlike what the model has learnt from: its doubt is {doubt:.3f}, and "
            f"95 % of images like the {counted(self.usual.images, 'image')} of validation{likewise}"
            f" stay below {self.limit:.3f}.{where} Look at the prediction before you use it, or "
            "train on such images, too."
        )


def sureness_of(folder: Path, team: Team) -> Sureness:
    """Of a predicted volume in a folder named after it, whose blocks are all done."""
    uncertain = team.config.prediction.uncertainty
    labels = {
        head.label: tally_of(folder, head.label, uncertain=uncertain) for head in team.heads
    }  # fmt: skip
    return Sureness(folder.name, labels, uncertain, team.doubts, team.usual())


def tally_of(folder: Path, label: str, *, uncertain: bool) -> Tally:
    """Of a label of a predicted volume, block by block.  uncertain: its uncertainty is stored."""
    stored = zarr.open_array(folder / "probabilities" / label, mode="r")
    apart = zarr.open_array(folder / "uncertainty" / label, mode="r") if uncertain else None
    total = Tally()
    for box in blocks_of(grid_of(stored).shape, _BLOCK):
        z, y, x = box.slices
        mask = stored[z, y, x] if stored.ndim == 3 else stored[0, z, y, x]
        total += tally(np.asarray(mask), None if apart is None else np.asarray(apart[z, y, x]))
    return total
