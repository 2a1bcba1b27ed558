"""Commands that train, and look after runs."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baselines.commands.arguments import Data, Device, Sets, numbers_of, say, shape_of
from baselines.config import Config, advice, load_config, to_json
from baselines.layout import DataError, DataFolder

if TYPE_CHECKING:
    import torch

    from baselines.data.crops import TrainingCrop
    from baselines.training.ranks import Ranks

app = typer.Typer()
runs = typer.Typer(help="The runs below a folder.", no_args_is_help=True)
app.add_typer(runs, name="runs")

ConfigArgument = Annotated[
    Path, typer.Argument(help="A TOML file, or the name of a bundled one, such as Semantic2D.")
]
Patch = Annotated[str, typer.Option(help="Size of a patch, Z,Y,X, in place of training.patch.")]
WindowSize = Annotated[
    str, typer.Option(help="The same as Z,X,Y; rounded up to what the network divides by.")
]
RunFolder = Annotated[Path, typer.Argument(help="The folder of a run.")]


@app.command()
def train(
    config: ConfigArgument,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The run's folder; an unfinished run goes on.  Else runs/<date>-<time>_<name>.",
        ),
    ] = None,
    sets: Sets = None,
    patch: Patch = "",
    window: WindowSize = "",
    folds: Annotated[
        str, typer.Option(help="An ensemble, a network per fold: all, or some such as 0,2.")
    ] = "",
    start: Annotated[
        str, typer.Option(help="A run to begin with the weights of, in place of training.start.")
    ] = "",
    dry_run: Annotated[bool, typer.Option(help="Only say what would be done.")] = False,
    device: Device = "auto",
) -> None:
    """Train a network on the training crops."""
    from baselines.runs.devices import choose_device
    from baselines.runs.inventory import run_id
    from baselines.training.ranks import joined

    begins = [f"training.start={json.dumps(start, ensure_ascii=False)}"] if start else []
    settings = _settings(config, [*(sets or []), *begins], patch, window)
    if dry_run:
        _show(*_loaded(settings, data))
        return
    if out is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise DataError("several processes train one run: name its folder with --out.")
    folder = out or Path("runs") / run_id(settings, datetime.now())
    chosen = choose_device(device)
    with joined(chosen) as ranks:
        _look_once(settings, data, folder, ranks)
        if ranks.first:
            say(f"run: {folder}")
            for remark in advice(settings, processors=len(os.sched_getaffinity(0))):
                say(f"note: {remark}")
        for results in _train(settings, DataFolder(data), folder, folds, chosen, ranks):
            for label, dice in results.get("dice", {}).items() if ranks.first else ():
                threshold = results["thresholds"][label]
                say(f"{label}: validation Dice {dice:.4f} at threshold {threshold:.2f}")


@app.command()
def plan(
    config: ConfigArgument,
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", help="A .json file for all settings, to train with.")
    ] = None,
    sets: Sets = None,
    memory_gb: Annotated[
        float, typer.Option(help="For so much memory; 0: that of the device.", min=0)
    ] = 0.0,
    device: Device = "auto",
) -> None:
    """Propose a patch and a batch for the memory at hand."""
    from baselines.runs.devices import choose_device
    from baselines.training.planning import plan as make_plan

    if out is not None and (out.suffix != ".json" or out.exists()):
        raise DataError(f"--out {out} must be a new .json file.")
    full, crops = _loaded(_settings(config, sets, "", ""), data)
    shapes = [box.shape for crop in crops for box in crop.training]
    found = make_plan(full, shapes, device=choose_device(device), budget=int(memory_gb * 1e9))
    planned = found.applied(full)
    say(found.text())
    _show(planned, crops)
    if out is not None:
        out.write_text(to_json(planned), "utf-8")
        say(f"{out}: train with `baselines train {out} --data {data}`")


@app.command()
def explain(
    key: Annotated[str, typer.Argument(help="A setting, a section, or nothing for all.")] = "",
    page: Annotated[bool, typer.Option(help="All of them as a page of Markdown.")] = False,
) -> None:
    """Say what a setting means, what it may be, and what it is by default."""
    from baselines.config.explaining import explain as explain_setting
    from baselines.config.explaining import settings_page

    print(settings_page() if page else explain_setting(key), end="" if page else "\n")


@app.command()
def status(
    run: RunFolder,
    follow: Annotated[bool, typer.Option(help="Go on telling until the training ends.")] = False,
) -> None:
    """Say how far a run is, from anywhere and at any time."""
    from baselines.runs.checkpoint import Run
    from baselines.runs.status import describe, status_of
    from baselines.runs.status import follow as follow_run

    if follow:
        follow_run(Run(run), say)
    print(describe(status_of(Run(run))))


@app.command()
def export(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs, or of ensembles.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The zip; else <date>_<name>.zip.")
    ] = None,
    predictions: Annotated[
        list[Path] | None, typer.Option(help="A folder of predictions, too; repeatable.")
    ] = None,
    with_data: Annotated[list[Path] | None, typer.Option(help="A data folder, too.")] = None,
    with_state: Annotated[
        bool, typer.Option(help="What training goes on from, too; large.")
    ] = False,
) -> None:
    """Write runs, and what belongs to them, into one zip with checksums."""
    from baselines.runs.archive import export as export_folders
    from baselines.runs.inventory import archive_id

    target = out or Path(archive_id(folders, datetime.now()))
    sources = {"runs": folders, "predictions": predictions or [], "data": with_data or []}
    entries = export_folders(sources, target, state=with_state)
    say(f"{target}: {len(entries)} files, {_megabytes(sum(e.bytes for e in entries))}")


@app.command("import")
def import_(
    archive: Annotated[Path, typer.Argument(help="A zip that export wrote.")],
    out: Annotated[Path, typer.Option("--out", help="A new or empty folder.")] = Path("imported"),
    replace: Annotated[bool, typer.Option(help="Delete what is in the folder.")] = False,
    verify: Annotated[bool, typer.Option(help="Only check the zip.")] = False,
    max_gb: Annotated[float, typer.Option(help="The most it may take.", min=0)] = 64.0,
) -> None:
    """Unpack what export wrote, after checking every file against its checksum."""
    from baselines.runs import archive as zips

    most = int(max_gb * 2**30)
    if verify:
        entries = zips.verify(archive, most_bytes=most)
    else:
        entries = zips.unpack(archive, out, replace=replace, most_bytes=most)
    size = _megabytes(sum(entry.bytes for entry in entries))
    say(f"{archive if verify else out}: {len(entries)} files as listed, {size}")


@runs.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Where to look.")] = Path("runs"),
) -> None:
    """List runs: how far they are, how good, how large."""
    from rich.console import Console
    from rich.table import Table

    from baselines.runs.inventory import listed

    table = Table("run", "name", "labels", "stage", "iterations", "best Dice", "size", box=None)
    found = listed(folder)
    if not found:
        say(f"no runs in or below {folder}")
        return
    for run in found:
        best = "" if run.best is None else f"{run.best:.4f}"
        labels = ", ".join(run.labels[:4]) + (" …" if len(run.labels) > 4 else "")
        done = f"{run.iteration}/{run.iterations}"
        table.add_row(
            str(run.folder), run.name, labels, run.stage, done, best, _megabytes(run.bytes)
        )
    Console().print(table)


@runs.command()
def prune(
    folder: Annotated[Path, typer.Argument(help="Where to look.")] = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", help="Delete; else only say what.")] = False,
) -> None:
    """Delete what finished runs no longer need: caches, checkpoints, the state to go on from."""
    from baselines.runs.inventory import listed, remove, size_of, spare

    spared = [path for run in listed(folder) for path in spare(run)]
    freed = sum(map(size_of, spared))
    for path in spared:
        say(f"{'deleted' if yes else 'could go'}: {path}")
        if yes:
            remove(path)
    say(f"{_megabytes(freed)} {'freed' if yes else 'to free; --yes does it'}")


def _look_once(settings: Config, data: Path, folder: Path, ranks: Ranks) -> None:
    """Look at the data, once for all folds and processes; not again for a run that goes on.

    Raises DataError, in each of the processes, if training would fail.
    """
    from baselines.inspecting.inspection import require_sound

    fault = ""
    if ranks.first and not any((folder / n).is_file() for n in ("config.json", "ensemble.json")):
        try:
            require_sound(data, settings, progress=say)
        except DataError as error:
            fault = str(error)
    if fault := ranks.gathered(fault)[0]:
        raise DataError(fault)


def _train(
    settings: Config, data: DataFolder, folder: Path, folds: str, device: torch.device,
    ranks: Ranks,
) -> list[dict[str, Any]]:  # fmt: skip
    """Results of one training, or of one per fold; only the first of several processes speaks."""
    from baselines.runs import display
    from baselines.runs.checkpoint import Run
    from baselines.training.folds import train_folds
    from baselines.training.train import train as train_run

    only = numbers_of(folds, "--folds") if folds not in ("", "all") else ()
    tell = say if ranks.first else display.silent
    with display.shown() if ranks.first else contextlib.nullcontext() as sink:
        sinks = [sink] if sink else []
        if folds:
            return train_folds(
                settings, data, folder, device=device, progress=tell, sinks=sinks,
                ranks=ranks, only=only,
            )  # fmt: skip
        return [train_run(
            settings, data, Run(folder), device=device, progress=tell, sinks=sinks,
            ranks=ranks,
        )]  # fmt: skip


def _settings(config: Path, sets: list[str] | None, patch: str, window: str) -> Config:
    """The settings, with the patch that an option gives."""
    from baselines.config.rules import step_of

    given = list(sets or [])
    if patch and window:
        raise DataError("--patch and --window say the same: give one of them.")
    if patch:
        given.append(f"training.patch={list(shape_of(patch, '--patch'))}")
    if window:
        z, x, y = shape_of(window, "--window")
        step = step_of(load_config(config, given))
        rounded = [z, *(-(-size // step) * step for size in (y, x))]
        if rounded != [z, y, x]:
            say(f"note: window {window} becomes {rounded} (Z, Y, X), multiples of {step}.")
        given.append(f"training.patch={rounded}")
    return load_config(config, given)


def _loaded(settings: Config, data: Path) -> tuple[Config, list[TrainingCrop]]:
    """The settings with what the data decide, and the crops."""
    from baselines.data.crops import load_crops
    from baselines.training.train import filled

    labels, crops = load_crops(DataFolder(data), settings, progress=say)
    return filled(settings, DataFolder(data), labels, crops), crops


def _show(full: Config, crops: list[TrainingCrop]) -> None:
    """The summary, for a person to review."""
    from rich.console import Console

    from baselines.training.schedule import plan_schedule
    from baselines.training.summary import summarise, table_of

    summary = summarise(full, crops, plan_schedule(full, len(crops)))
    Console(soft_wrap=True).print(table_of(summary))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
