"""One process's share of a prediction: from the raw on disk to arrays on disk, part by part."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType

import numpy as np
import torch
from torch import Tensor

from baselines.box import Box
from baselines.config import Config
from baselines.layout import DataError
from baselines.predicting.blockwise import predict_box, stream
from baselines.predicting.output import open_stored
from baselines.predicting.predictors import predictor_of
from baselines.predicting.subjects import Subject
from baselines.predicting.tiling import Tiling, plan_tiling
from baselines.runs.checkpoint import Run
from baselines.runs.devices import brought, use_bf16
from baselines.volumes.levels import OnGrid
from baselines.volumes.light import Light
from baselines.volumes.readers import Reader
from evaluator.geometry import Shape

# The frames (Z, Y, X of a frame as axes of the volume) in which a network of planes sees it.
ORTHOPLANES = ((0, 1, 2), (1, 0, 2), (2, 0, 1))


@dataclass(frozen=True)
class Task:
    """All that a process needs to predict parts of one volume; it can be sent to another machine
    that sees the same files.

    folder: OUT/<crop>, with arrays in place.  mark: names the task among others.
    """

    members: tuple[Run, ...]
    config: Config
    subject: Subject
    light: Light
    tiling: Tiling
    folder: Path
    mark: str


class Engine:
    """The networks of a task, on a device, and its open files."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self.task = task
        settings, heads = task.config.prediction, task.members[0].heads()
        models = [run.model() for run in task.members]
        for model in models:
            model.place(device)
        self.multiple: Shape = models[0].multiple
        self.channels = heads.channels + (len(heads) if settings.uncertainty else 0)
        self.predictor = predictor_of(
            *models, device=device, bf16=use_bf16(task.config.training.precision, device),
            mirror=settings.mirror, uncertain=heads.masks if settings.uncertainty else (),
        )  # fmt: skip
        self.raw: OnGrid = task.subject.open(task.config)
        self.stored = {
            task.folder / "probabilities" / head.label: heads.of(head.label) for head in heads
        }
        if settings.uncertainty:
            for k, head in enumerate(heads, start=heads.channels):
                self.stored[task.folder / "uncertainty" / head.label] = slice(k, k + 1)
        self.arrays = {path: open_stored(path) for path in self.stored}

    def parts(self, box: Box) -> Iterator[Box]:
        """Predict a box of whole blocks; its parts, each as soon as it is on disk.

        One part is written while the next is predicted.
        """
        with ThreadPoolExecutor(max_workers=1) as writer:
            ahead = None
            for part, probability in self._predicted(box):
                # A GPU goes on with the next part while this one is on its way to the disk.
                levels = brought(probability.mul_(255).round_().to(torch.uint8))
                if ahead is not None:
                    yield ahead.result()
                ahead = writer.submit(self._write, part, levels)
            if ahead is not None:
                yield ahead.result()

    def _predicted(self, box: Box) -> Iterator[tuple[Box, Tensor]]:
        task = self.task
        if not task.config.prediction.orthoplanes:
            yield from stream(
                self.predictor, self.raw, task.light, box=box, tiling=task.tiling,
                channels=self.channels, batch=task.config.prediction.batch,
            )  # fmt: skip
            return
        for part in task.tiling.parts(box):
            views = [self._seen(part, axes) for axes in ORTHOPLANES]
            yield part, torch.from_numpy(np.mean(views, axis=0))

    def _seen(self, part: Box, axes: tuple[int, int, int]) -> np.ndarray:
        """Probabilities (C, Z, Y, X) of a part, from planes across another axis."""
        task, settings = self.task, self.task.config.prediction
        shape = turned(self.raw.shape, axes)
        whole = dataclasses.replace(settings, block=turned(task.tiling.block, axes))
        tiling = plan_tiling(shape, whole, self.multiple, context=task.tiling.context)
        found = predict_box(
            self.predictor, Turned(self.raw, axes), task.light,
            box=Box(turned(part.start, axes), turned(part.stop, axes)), tiling=tiling,
            channels=self.channels, batch=settings.batch,
        )  # fmt: skip
        return found.transpose(0, *(1 + np.argsort(axes)))

    def _write(self, part: Box, brought_levels: Callable[[], np.ndarray]) -> Box:
        levels = brought_levels()
        start = self.task.tiling.predicted.start
        inside: tuple[slice | EllipsisType, ...] = (
            ..., *part.moved(tuple(-n for n in start)).slices
        )  # fmt: skip
        begun = []
        for path, channels in self.stored.items():
            target = self.arrays[path][inside]
            begun.append(target.write(levels[channels].reshape(target.shape)))
        try:
            for one in begun:
                one.result()
        except ValueError as error:  # tensorstore's for a full disk, too
            raise DataError(f"{self.task.folder} cannot be written: {error}") from error
        return part


@dataclass(frozen=True)
class Turned:
    """A volume with its axes in another order."""

    source: Reader
    axes: tuple[int, int, int]

    @property
    def shape(self) -> Shape:
        """Voxels along the axes in their new order."""
        return turned(self.source.shape, self.axes)

    def read(self, start: Shape, stop: Shape) -> np.ndarray:
        """A box, in the new order."""
        back = np.argsort(self.axes)
        low, high = (turned(corner, (back[0], back[1], back[2])) for corner in (start, stop))
        return self.source.read(low, high).transpose(self.axes)


def turned(corner: Shape, axes: tuple[int, int, int]) -> Shape:
    """Three numbers (Z, Y, X) in the order of other axes."""
    z, y, x = (corner[axis] for axis in axes)
    return (z, y, x)
