"""The runs below a folder: how far each is, what it takes, and what it could spare."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from baselines.config import Config
from baselines.runs.archive import SKIPPED_FOLDERS, STATE
from baselines.runs.checkpoint import Run
from baselines.runs.journal import Validated
from baselines.runs.status import Stage, status_of


@dataclass(frozen=True, slots=True)
class Listed:
    """One run.  best: the best mean Dice on the validation voxels; None before the first."""

    folder: Path
    name: str
    labels: tuple[str, ...]
    iteration: int
    iterations: int
    best: float | None
    stage: Stage
    bytes: int


def run_id(config: Config, now: datetime) -> str:
    """A name for a run's folder that tells when it was begun, as in 20261121-130502_mito."""
    return f"{now:%Y%m%d-%H%M%S}_{config.name}"


def archive_id(runs: list[Path], now: datetime) -> str:
    """A name for an archive that tells what is in it and when it was made."""
    return f"{now:%Y-%m-%d}_{'_'.join(run.resolve().name for run in runs)[:100]}.zip"


def listed(folder: Path) -> list[Listed]:
    """The runs in and below a folder, by their paths; [] if there are none."""
    settings = sorted(folder.rglob("config.json"))
    return [_listed(path.parent) for path in settings if (path.parent / "progress.jsonl").is_file()]


def spare(run: Listed) -> list[Path]:
    """What a run no longer needs: caches; of a finished one the state to go on from, too."""
    names = [*sorted(SKIPPED_FOLDERS), *(STATE if run.stage is Stage.DONE else ())]
    return [run.folder / name for name in names if (run.folder / name).exists()]


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are not followed."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink())


def _listed(folder: Path) -> Listed:
    run = Run(folder)
    config, status = run.config(), status_of(run)
    means = [event.mean for event in run.events() if isinstance(event, Validated)]
    trained = status.trained
    return Listed(
        folder, config.name, config.data.labels,
        trained.iteration if trained else 0,
        trained.iterations if trained else config.training.iterations,
        max(means, default=None), status.stage, size_of(folder),
    )  # fmt: skip
