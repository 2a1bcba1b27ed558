"""From a trained run and the hidden raw to masks and objects in a folder.

PRED/<crop>/probabilities/<label>   zarr uint8, 255 is 1.0
PRED/<crop>/<label>                 zarr: masks (0, 1), or ids
PRED/<crop>/progress.json           the blocks that are done, and by which weights
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

from baselines.blockwise import predict_box
from baselines.box import Box
from baselines.checkpoint import Run
from baselines.config import Config
from baselines.layout import DataError, DataFolder, Split
from baselines.levels import open_level
from baselines.light import measure_light
from baselines.objects import components, grown, mask_of, smallest_voxels
from baselines.predictors import predictor_of
from baselines.tiling import plan_tiling
from baselines.training import use_bf16
from evaluator.digest import file_digest, json_digest
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind, Label, parse_labels
from evaluator.volume import create_volume, open_volume

Progress = Callable[[str], None]


def predict(
    run: Run, data: DataFolder, out: Path, *, device: torch.device, progress: Progress = print
) -> None:
    """Predict every hidden crop.  What an interrupted run has finished is not done again.

    Raises ConfigError if the run is not trained, DataError if there is nothing to predict or no
    level of a volume has the model's voxel size.
    """
    config, model = run.config(), run.model()
    labels = label_table(data, config.data.labels)
    crops = data.crops(Split.HIDDEN)
    if not crops:
        raise DataError(
            f"{data.root} has no hidden crops to predict: no */raw in its hidden folder."
        )
    volumes = [open_level(data.raw(Split.HIDDEN, crop), config.data.voxel_size) for crop in crops]
    model.place(device)
    predictor = predictor_of(model, device=device, bf16=use_bf16(config.training.precision, device))
    mark = json_digest([file_digest(run.weights), dataclasses.asdict(config.prediction)])
    thresholds = thresholds_of(run, config)
    for crop, volume in zip(crops, volumes, strict=True):
        grid = volume.grid or VoxelGrid(volume.shape, _triple(config.data.voxel_size))
        ledger = Ledger(out / crop / "progress.json", mark)
        light, tiling = (
            measure_light(volume),
            plan_tiling(volume.shape, config.prediction, model.multiple),
        )
        arrays = _probability_arrays(out / crop, labels, grid, fresh=not ledger.done)
        blocks = [block for block in tiling.blocks() if block.start not in ledger.done]
        for n, block in enumerate(blocks, start=1):
            found = predict_box(
                predictor, volume, light, box=block, tiling=tiling,
                channels=len(labels), batch=config.prediction.batch,
            )  # fmt: skip
            for array, probability in zip(arrays, found, strict=True):
                array[block.slices] = np.round(probability * 255).astype(np.uint8)
            ledger.enter(block)
            progress(f"{crop}: block {n} of {len(blocks)}")
        for label in labels:
            write_label(out / crop, label, grid, config, threshold=thresholds[label.name])


@dataclass(frozen=True)
class Ledger:
    """Which blocks of a crop are done, as long as the same weights are used."""

    path: Path
    mark: str

    @property
    def done(self) -> set[tuple[int, ...]]:
        """Starts of the finished blocks."""
        if not self.path.is_file():
            return set()
        content = json.loads(self.path.read_text("utf-8"))
        return (
            {tuple(start) for start in content["done"]} if content["mark"] == self.mark else set()
        )

    def enter(self, block: Box) -> None:
        """Note a finished block."""
        done = sorted({*self.done, block.start})
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({"mark": self.mark, "done": done}), "utf-8")
        temporary.replace(self.path)


def label_table(data: DataFolder, names: tuple[str, ...]) -> list[Label]:
    """The definitions of the labels a model predicts, in its order."""
    known = parse_labels((data.root / "labels.toml").read_text("utf-8"))
    if missing := [name for name in names if name not in known]:
        raise DataError(f"{data.root}/labels.toml does not define {', '.join(missing)}.")
    return [known[name] for name in names]


def thresholds_of(run: Run, config: Config) -> dict[str, float]:
    """Per label: from the settings, else as chosen on the validation planes, else 0.5."""
    chosen = run.results().get("thresholds", {})
    given = config.prediction.thresholds
    return {name: given.get(name, chosen.get(name, 0.5)) for name in config.data.labels}


def write_label(
    folder: Path, label: Label, grid: VoxelGrid, config: Config, *, threshold: float
) -> None:
    """Turn the stored probabilities of a label into its mask or its objects.

    Masks are made slab by slab; objects need the whole crop at once.
    """
    probabilities = open_volume(folder / "probabilities" / label.name)
    dtype = np.uint32 if label.kind is Kind.INSTANCE else np.uint8
    array = create_volume(folder / label.name, grid, dtype, multiscale=False)
    if label.kind is Kind.INSTANCE:
        mask = np.concatenate([mask_of(slab, threshold) for slab in probabilities.slabs(64)])
        found = components(
            mask, smallest=smallest_voxels(config.objects, label.name, grid.voxel_size)
        )
        array[:] = grown(found, config.objects.shrink.get(label.name, 0))
        return
    for n, slab in enumerate(probabilities.slabs(64)):
        array[n * 64 : n * 64 + len(slab)] = mask_of(slab, threshold)


def _probability_arrays(
    folder: Path, labels: list[Label], grid: VoxelGrid, *, fresh: bool
) -> list[zarr.Array[Any]]:
    paths = [folder / "probabilities" / label.name for label in labels]
    if not fresh and all(path.is_dir() for path in paths):
        return [zarr.open_array(path, mode="r+") for path in paths]
    return [create_volume(path, grid, np.uint8, multiscale=False) for path in paths]


def _triple(size: tuple[float, ...]) -> tuple[float, float, float]:
    z, y, x = size
    return (z, y, x)
