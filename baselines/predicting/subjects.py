"""What to predict: the test crops of a folder of data, or images of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from baselines.config import Config, DataConfig
from baselines.data import pairing
from baselines.data.hidden import fetching, find_hidden, is_tree
from baselines.data.sources.tables import are_black, fetched_below
from baselines.layout import DataError, DataFolder
from baselines.predicting.surroundings import Raw, in_its_raw, whole
from baselines.progress import counted
from baselines.volumes.images import UNSIZED, Image, open_image
from baselines.volumes.levels import alike, open_level, ranked, touched, triple
from baselines.volumes.light import Light
from evaluator.geometry import Nanometres, VoxelGrid


@dataclass(frozen=True, slots=True)
class Subject:
    """A volume to predict.

    name: of the folder for its prediction.  raw: an image of any kind.  crop: what of it is to be
    predicted; None: all of it.  root: the folder that the raw was fetched into.
    """

    name: str
    raw: Path
    crop: VoxelGrid | None = None
    root: Path | None = None

    def open(self, config: Config) -> Raw:
        """Its raw at the model's voxels.  Raises DataError or Unreadable if that cannot be."""
        data = config.data
        if self.crop is None:
            return whole(
                open_level(self.raw, data.voxel_size, coarsest=data.coarsest, channel=data.channel)
            )
        image = self._image(self.crop, data)
        size = triple(data.voxel_size or image.finest.voxel_size)
        if (found := in_its_raw(image, self.crop, size, config)) is None:
            raise DataError(self._lacks(image, self.crop, size, data.coarsest))
        return found

    def _image(self, crop: VoxelGrid, data: DataConfig) -> Image:
        if not self.raw.exists():
            raise DataError(
                f"the raw of {self.name} was not fetched: {self.raw} is missing. Get it with "
                f"`{self._command()}`, or say where raw lies with --set data.raw=TEMPLATE."
            )
        image = open_image(
            self.raw, voxel_size=crop.voxel_size, channel=data.channel,
            fetched=fetched_below(self.root) if self.root else None,
            black=self.root is None
            or are_black(self.root, data, ours=not is_tree(DataFolder(self.root))),
        )  # fmt: skip
        if touched(image.finest, crop) is None:
            raise DataError(
                f"{self.name} lies outside its raw {self.raw}: the manifest places it at "
                f"{_sizes(crop.offset)} nm, the raw begins at {_sizes(image.finest.offset)} nm and "
                f"is {_sizes(image.finest.extent_nm)} nm long. Fetch manifest and raw from one "
                f"source: `{self._command()}`."
            )
        return image

    def _lacks(self, image: Image, crop: VoxelGrid, size: Nanometres, coarsest: float) -> str:
        command = f"{self._command()} --voxel-size {','.join(f'{n:g}' for n in size)}"
        levels = ranked(image.levels, size, coarsest=coarsest)
        if not levels:
            return (
                f"{self.raw} is there with voxels of {_sizes(image.finest.voxel_size)} nm, more "
                f"than {coarsest:g} times as large as the {_sizes(size)} nm (Z, Y, X) that the "
                f"model sees. If there are finer ones, get them for {self.name} with `{command}`; "
                "else train at these, or allow it with --set data.coarsest."
            )
        near = touched(levels[0].grid, crop)
        absent = levels[0].data.absent(near) if near else []
        missing = counted(len(absent), "chunk") if absent else "chunks"
        black = " If they are black, say --set data.absent=black." if absent else ""
        return (
            f"the raw of {self.name} was not fetched at the {_sizes(size)} nm (Z, Y, X) that the "
            f"model sees: {self.raw} lacks {missing} there. Get them with `{command}`."
            f"{black}"
        )

    def _command(self) -> str:
        return fetching(self.root or Path("DATA"), self.name)


def hidden_crops(
    data: DataFolder, names: Sequence[str] = (), *, raw: str = DataConfig().raw
) -> list[Subject]:
    """The test crops of a data folder or a fetched tree, or those that are named; see `hidden`.

    raw: where it lies in a tree.  Raises DataError if there are none, or not all that are named.
    """
    return [
        Subject(crop.name, crop.raw, crop.box, data.root)
        for crop in find_hidden(data, names, raw=raw)
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
        raise DataError(
            f"{', '.join(missing)} is missing: --image needs a TIFF, a PNG, an OME-Zarr or a "
            "folder of planes."
        )
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
