"""From trained runs and raw volumes to masks and objects in a folder; see `output` for its files.

A volume is cut into columns of blocks.  Each is predicted from its first plane to its last, here or
on a cluster, and every block is written once.  `progress.jsonl` beside the arrays lists the blocks
that are done and by which weights: what was interrupted goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from baselines.box import Box
from baselines.config import Config, PredictionConfig
from baselines.layout import DataError
from baselines.predicting.cluster import Cluster
from baselines.predicting.engine import Engine, Task
from baselines.predicting.learnt import notices
from baselines.predicting.ledger import Ledger
from baselines.predicting.output import create_stored, metadata_of
from baselines.predicting.pace import Pace
from baselines.predicting.results import write_results
from baselines.predicting.subjects import Subject, doubts
from baselines.predicting.team import Team
from baselines.predicting.tiling import Tiling, columns, plan_tiling
from baselines.progress import Progress
from baselines.runs.devices import choose_device
from baselines.volumes.light import measure_light
from evaluator.digest import json_digest
from evaluator.geometry import VoxelGrid

LARGE_GB = 10.0  # of stored probabilities: more is worth a word before it begins


def predict(
    team: Team, subjects: Sequence[Subject], out: Path, *, device: str = "auto",
    cluster: str = "", ids: Mapping[str, int] | None = None, progress: Progress = print,
) -> None:  # fmt: skip
    """Predict volumes.  What an interrupted run has finished is not done again.

    cluster: the address of a Dask scheduler whose workers compute; empty: this process does.
    ids: of labels, for segmentation.tif; by default they are counted from 1.
    Raises ConfigError if a run is not trained, DataError if a volume does not fit the model.
    """
    chosen = choose_device("cpu" if cluster else device)
    require_fetched(subjects, team.config)
    numbers = {name: n for n, name in enumerate(team.config.data.labels, start=1)} | dict(ids or {})
    with Cluster(cluster, device) if cluster else nullcontext() as workers:
        for subject in subjects:
            begun = time.monotonic()
            task, grid, notes = prepare(team, subject, out / subject.name)
            for note in notes:
                progress(f"warning: {note}")
            ledger = Ledger(task.folder / "progress.jsonl", task.mark)
            make_arrays(task, grid, team, fresh=not ledger.done)
            blocks = todo(task.tiling, ledger)
            pace = Pace.of(task.tiling, blocks, time.monotonic())
            for part in workers.parts(task, blocks) if workers else here(task, blocks, chosen):
                ledger.enter(*part.start)
                progress(f"{subject.name}: {pace.after(part, time.monotonic())}")
            about = {"warnings": notes, "seconds": round(time.monotonic() - begun, 1)}
            finish(task, team, ids=numbers, about=about, progress=progress)


def require_fetched(subjects: Sequence[Subject], config: Config) -> None:
    """Raises DataError, a line for each crop whose raw is missing, before hours of work."""
    missing = []
    for subject in subjects:
        try:
            if subject.crop is not None:
                subject.open(config)
        except DataError as error:
            missing.append(str(error))
    if missing:
        raise DataError("\n".join(missing))


def prepare(team: Team, subject: Subject, folder: Path) -> tuple[Task, VoxelGrid, list[str]]:
    """What has to be known before a volume is predicted: task, grid, and doubts about it."""
    raw = subject.open(team.config)
    grid = raw.predicted
    light = measure_light(raw)
    model = team.members[0].model()
    channels = team.heads.channels + len(team.heads) * team.config.prediction.uncertainty
    tiling = plan_tiling(
        raw.shape, blocks_for(team.config.prediction), model.multiple,
        context=model.context, channels=channels, core=raw.core,
    )  # fmt: skip
    seen = [dataclasses.asdict(part) for part in (raw.grid, raw.core, light)]
    mark = json_digest([team.digest(), seen])
    task = Task(team.members, team.config, subject, light, tiling, folder, mark)
    notes = doubts(subject, light, team.config, team.lights())
    notes += notices(subject.name, subject.raw, grid, team.members)
    if (size := channels * grid.voxels / 1e9) > LARGE_GB:
        notes.append(f"{subject.name} takes up to {size:.0f} GB on disk: {channels} channels.")
    return task, grid, notes


def blocks_for(config: PredictionConfig) -> PredictionConfig:
    """With orthoplanes, blocks as deep as a tile is wide: planes across Z then fit in."""
    if not config.orthoplanes:
        return config
    wide = max(config.tile)
    return dataclasses.replace(config, block=tuple(max(n, wide) for n in config.block))


def make_arrays(task: Task, grid: VoxelGrid, team: Team, *, fresh: bool) -> None:
    """Arrays of zeros for what will be stored; those that are there stay unless fresh."""
    for head in team.heads:
        kind = team.kind(head.label)
        about = {"kind": str(kind), "head": head.to_json(), "channels": list(head.channels)}
        path = task.folder / "probabilities" / head.label
        if fresh or not path.is_dir():
            create_stored(
                path, grid, channels=len(head.channels), chunks=task.tiling.chunks(), about=about
            )
        path = task.folder / "uncertainty" / head.label
        if team.config.prediction.uncertainty and (fresh or not path.is_dir()):
            create_stored(path, grid, channels=1, chunks=task.tiling.chunks(), about={})


def finish(
    task: Task, team: Team, *, ids: Mapping[str, int], about: Mapping[str, Any],
    progress: Progress,
) -> None:  # fmt: skip
    """Make masks, objects and stacks, unless the same have been made of the same blocks."""
    recipes = [team.recipe(head).to_json() for head in team.heads]
    made = json_digest([task.mark, recipes, team.config.prediction.output, dict(ids)])
    if metadata_of(task.folder).get("made") == made:
        progress(f"{task.subject.name}: nothing left to do")
        return
    write_results(task, team, ids=ids, about={**about, "made": made}, progress=progress)


def todo(tiling: Tiling, ledger: Ledger) -> list[Box]:
    """The blocks that are not done, column by column from the first plane to the last."""
    left = [block for block in tiling.blocks() if block.start not in ledger.done]
    return sorted(left, key=lambda block: (block.start[1:], block.start[0]))


def here(task: Task, blocks: Sequence[Box], device: torch.device) -> Iterator[Box]:
    """The blocks, predicted in this process; each when it is on disk."""
    if blocks:
        engine = Engine(task, device)
        for box in columns(blocks):
            yield from engine.parts(box)
