"""What to predict: the hidden crops of a data folder, or images of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from baselines.config import Config
from baselines.data import pairing
from baselines.layout import DataError, DataFolder, Purpose
from baselines.volumes.images import UNSIZED, open_image
from baselines.volumes.levels import OnGrid, alike, open_level
from baselines.volumes.light import Light


@dataclass(frozen=True, slots=True)
class Subject:
    """A volume to predict.  name: of the folder for its prediction; raw: an image of any kind."""

    name: str
    raw: Path

    def open(self, config: Config) -> OnGrid:
        """Its raw at the model's voxels.  Raises DataError or Unreadable if that cannot be."""
        data = config.data
        return open_level(self.raw, data.voxel_size, coarsest=data.coarsest, channel=data.channel)


def hidden_crops(data: DataFolder, names: Sequence[str] = ()) -> list[Subject]:
    """The crops of a data folder that are to be predicted; of them those that are named, if any.

    Raises DataError if there are none, or not all that are named.
    """
    crops = data.crops(Purpose.HIDDEN)
    if not crops:
        raise DataError(
            f"{data.root} has no hidden crops to predict: no */raw in its hidden folder. "
            "Give a data folder, or images with --image or --images."
        )
    if missing := sorted(set(names) - set(crops)):
        raise DataError(
            f"{data.root} has no hidden crop {', '.join(missing)}; it has {', '.join(crops)}."
        )
    return [
        Subject(name, data.raw(Purpose.HIDDEN, name)) for name in crops if name in (names or crops)
    ]


def images_at(paths: Iterable[Path]) -> list[Subject]:
    """Images by their paths: TIFF, PNG, OME-Zarr, or a folder of planes.

    Their names, without endings, name the predictions.  Raises DataError if two have the same.
    """
    subjects = [Subject(pairing.stem(path.name), path) for path in paths]
    counts = Counter(subject.name for subject in subjects)
    if twice := sorted(name for name, n in counts.items() if n > 1):
        raise DataError(
            f"several images are called {', '.join(twice)}: give each a name of its own, as "
            "predictions are named after them."
        )
    if missing := [str(subject.raw) for subject in subjects if not subject.raw.exists()]:
        raise DataError(f"{', '.join(missing)} is missing.")
    return subjects


def images_in(folder: Path) -> list[Subject]:
    """Every image in a folder, each one by itself.  Raises DataError: none, or a name twice."""
    return [Subject(name, path) for name, path in pairing.images_in(folder).items()]


def doubts(subject: Subject, light: Light, config: Config, trained: Sequence[Light]) -> list[str]:
    """What differs between a volume and those the model learnt from, in sentences.

    light: of the volume.  trained: of the training crops.
    """
    found = []
    image = open_image(subject.raw, channel=config.data.channel)
    finest, wanted = image.finest.voxel_size, config.data.voxel_size
    if finest == UNSIZED and wanted and not alike(UNSIZED, wanted):
        found.append(
            f"{subject.name} does not say how large its voxels are; they are taken for the "
            f"{_sizes(wanted)} nm (Z, Y, X) of the training."
        )
    elif wanted and not any(alike(level.grid.voxel_size, wanted) for level in image.levels):
        found.append(
            f"{subject.name} has voxels of {_sizes(finest)} nm (Z, Y, X), the model was trained at "
            f"{_sizes(wanted)} nm: it is resampled."
        )
    if trained and not any(similar(light, other) for other in trained):
        found.append(
            f"grey values of {subject.name} ({light.middle:.4g} ± {light.spread:.4g}) differ from "
            f"those of all training crops ({_range(trained)}): check the microscope's settings, "
            "or train on such images, too."
        )
    return found


def similar(one: Light, other: Light) -> bool:
    """Whether middles lie within the larger spread of each other, and spreads within twofold."""
    wide, narrow = max(one.spread, other.spread), min(one.spread, other.spread)
    return abs(one.middle - other.middle) <= wide and wide <= 2 * narrow


def _range(lights: Sequence[Light]) -> str:
    middles, spreads = [light.middle for light in lights], [light.spread for light in lights]
    return f"{min(middles):.4g}–{max(middles):.4g} ± {min(spreads):.4g}–{max(spreads):.4g}"


def _sizes(sizes: Sequence[float]) -> str:
    return " × ".join(f"{size:g}" for size in sizes)
