"""Blocks computed by the workers of a Dask cluster, which see the same files as this process."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from baselines.box import Box
from baselines.config import ConfigError
from baselines.predicting.engine import Engine, Task
from baselines.predicting.tiling import columns
from baselines.runs.devices import choose_device

PER_WORKER = 4  # boxes for each, so that none waits long for the last


class Cluster:
    """The workers behind a Dask scheduler.  Raises ConfigError if there are none."""

    def __init__(self, address: str, device: str, *, patience: str = "20s") -> None:
        self.device = device
        try:
            self.distributed: Any = importlib.import_module("distributed")
        except ImportError as error:
            raise ConfigError(
                "--dask needs the package distributed: pip install 'crista[extras]'."
            ) from error
        try:
            self.client = self.distributed.Client(address, timeout=patience)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigError(f"no Dask scheduler answers at {address}: {error}.") from error

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def parts(self, task: Task, blocks: Sequence[Box]) -> Iterator[Box]:
        """The blocks, predicted by the workers; each when it is on disk, in any order.

        Blocks of a worker that dies are predicted by another one: the same voxels come out.
        Raises ConfigError if there is no worker, or the same blocks cost several of them.
        """
        if not blocks:
            return
        workers = len(self.client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise ConfigError("the Dask scheduler has no workers: start some.")
        deep = -(-2 * task.tiling.tile[0] // task.tiling.block[0])  # or tiles are computed twice
        most = max(deep, -(-len(blocks) // (PER_WORKER * workers)))
        futures = self.client.map(
            functools.partial(_predict, task, self.device), list(columns(blocks, most)),
            pure=False, retries=0,
        )  # fmt: skip
        for done in self.distributed.as_completed(futures):
            try:
                yield from done.result()
            except self.distributed.KilledWorker as error:
                raise ConfigError(
                    "several workers of the cluster died over the same blocks: most often they "
                    "ran out of memory. Make prediction.block or prediction.batch smaller."
                ) from error


def _predict(task: Task, device: str, box: Box) -> list[Box]:
    """Runs on a worker: the parts of a box, which are on disk."""
    return list(_engine(task.mark, device, task).parts(box))


_ENGINES: dict[str, Engine] = {}  # the networks of the last task stay loaded in a worker


def _engine(mark: str, device: str, task: Task) -> Engine:
    if mark not in _ENGINES:
        _ENGINES.clear()
        _ENGINES[mark] = Engine(task, choose_device(device))
    return _ENGINES[mark]
