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
    def limits(self) -> dict[str, float]:
        """The doubt that is usual: of all labels together, called "", and of each that is here.

        Without those that nobody knows.
        """
        if self.usual is None or not self.doubted:
            return {}
        found, known = parts_of(self.labels), self.usual.labels
        overall = {"": self.usual.limit} if found else {}
        return overall | {n: known[n].limit(found[n].share) for n in known if n in found}

    @property
    def unusual(self) -> list[str]:
        """Which of `limits` the image is above."""
        doubts = {"": self.overall.mean_doubt} | {n: t.mean_doubt for n, t in self.labels.items()}
        return [n for n, limit in self.limits.items() if (doubts[n] or 0.0) > limit]

    @property
    def unlike(self) -> bool | None:
        """Whether any doubt is above what is usual; None: nobody knows."""
        return bool(self.unusual) if self.limits else None

    def told(self, label: str = "") -> dict[str, Any]:
        """For metadata.json: of a label, or of the image.

        uncertainty, doubt: means over the predicted foreground, 0 .. 1; None where nothing is
        predicted, or stored arrays do not tell.  usual_doubt: None if nobody knows.
        """
        found = self.labels[label] if label else self.overall
        means = {
            "uncertainty": found.mean_uncertainty if self.uncertain else None,
            "doubt": found.mean_doubt if self.doubted else None,
        }
        told = {name: mean if mean is None else round(mean, 5) for name, mean in means.items()}
        limit = self.limits.get(label)
        told["usual_doubt"] = limit if limit is None else round(limit, 5)
        return told if label else told | {"out_of_distribution": self.unlike}

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
        if not self.unusual or self.usual is None:
            return ""
        above = [
            f"{self.told(n)['doubt']:.3f}{f' in {n}' if n else ''} (usual is up to "
            f"{self.limits[n]:.3f})" for n in self.unusual
        ]  # fmt: skip
        return (
            f"{self.name} is unlike what the model has learnt from: its doubt is "
            f"{', '.join(above)}. Of images like the {counted(self.usual.images, 'image')} of "
            "validation, 95 % stay below every limit. Look at the prediction before you use it, or "
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
