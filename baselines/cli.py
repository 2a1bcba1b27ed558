"""The command line: parse, call, and say in one sentence what went wrong."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from baselines import stack
from baselines.checkpoint import Run
from baselines.config import load_config
from baselines.layout import DataError, DataFolder
from baselines.pack import pack as pack_predictions
from baselines.phantom import PhantomPlan, write_phantom
from baselines.prediction import predict as predict_crops
from baselines.threshold import threshold as threshold_crops
from baselines.training import choose_device
from baselines.training import train as train_run
from evaluator.errors import EvaluatorError
from evaluator.geometry import Shape
from evaluator.manifest import load_manifest

app = typer.Typer(
    help="Baselines: train, predict, pack; and data to do it with.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
errors = Console(stderr=True)

Data = Annotated[Path, typer.Option("--data", help="The data folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def main() -> None:
    """Entry point.  What the user can mend is one sentence and exit status 2."""
    try:
        app()
    except EvaluatorError as error:
        errors.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        errors.print(
            f"[red]error:[/red] {escape(f'{error.filename}: {error.strerror}.')}", soft_wrap=True
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def say(text: str) -> None:
    """Progress, on stderr, so that output can be piped."""
    print(text, file=sys.stderr, flush=True)


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="The data folder to make.")],
    shape: Annotated[str, typer.Option(help="Voxels of a crop, Z,Y,X.")] = "96,192,192",
    voxel_size: Annotated[str, typer.Option(help="nm, Z,Y,X.")] = "8,4,4",
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.", min=0)] = 0,
    crops: Annotated[str, typer.Option(help="How many of each split.")] = "train:2,hidden:1",
    cell_size: Annotated[float, typer.Option(help="nm from cell to cell.", min=150)] = 560.0,
    noise: Annotated[
        float, typer.Option(help="Shot noise, share of the grey scale.", min=0)
    ] = 0.055,
) -> None:
    """Make a data folder of EM-like crops with complete truth."""
    counts = _counts(crops)
    plan = PhantomPlan(
        shape=_shape(shape), voxel_size=_triple(voxel_size, "--voxel-size"), seed=seed,
        train=counts.get("train", 0), hidden=counts.get("hidden", 0), cell_nm=cell_size,
        noise=noise,
    )  # fmt: skip
    write_phantom(out, plan, progress=say)


@app.command("import-stack")
def import_stack(
    out: Annotated[Path, typer.Option("--out", help="The data folder, new or begun.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A stack.toml, or the folder with one.")
    ] = None,
    raw: Annotated[Path | None, typer.Option(help="Raw: TIFF, PNG, or a folder of them.")] = None,
    labels: Annotated[Path | None, typer.Option(help="The label stack.")] = None,
    mask: Annotated[
        list[str] | None, typer.Option(help="NAME=PATH:KIND, a stack of one class; repeatable.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE[,VALUE…]:semantic|instance, NAME=ids:instance; repeatable."),
    ] = None,
    voxel_size: Annotated[str, typer.Option(help="nm, Z,Y,X.")] = "",
    crop: Annotated[str, typer.Option(help="Name of the crop.")] = "crop-1",
    split: Annotated[str, typer.Option(help="train or hidden.")] = "train",
    planes: Annotated[str, typer.Option(help="FIRST:LAST, only these planes.")] = "",
    planar: Annotated[bool, typer.Option(help="Objects end at the plane they lie in.")] = False,
) -> None:
    """Bring TIFF or PNG stacks into a data folder."""
    if source is not None:
        plan = stack.load_plan(source)
    elif raw is None or not voxel_size:
        raise DataError("import-stack needs --from stack.toml, or --raw and --voxel-size.")
    else:
        plan = stack.plan_of_one(
            raw, labels=labels, masks=mask or [], classes=classes or [], planar=planar,
            voxel_size=_triple(voxel_size, "--voxel-size"), crop=crop, split=split,
            planes=_range(planes),
        )  # fmt: skip
    stack.import_stacks(plan, DataFolder(out), progress=say)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A TOML file, or the name of a bundled one.")],
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", help="The run's folder; an unfinished run goes on.")
    ],
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, as in training.steps=100.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Train a network on the training crops."""
    settings = load_config(config, sets or [])
    results = train_run(
        settings, DataFolder(data), Run(out), device=choose_device(device), progress=say
    )
    for label, dice in results.get("dice", {}).items():
        say(f"{label}: validation Dice {dice:.4f} at threshold {results['thresholds'][label]:.2f}")


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a trained run.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Where predictions go; resumable.")],
    device: Device = "auto",
) -> None:
    """Predict the hidden crops with a trained network."""
    predict_crops(Run(run), DataFolder(data), out, device=choose_device(device), progress=say)


@app.command()
def threshold(
    data: Data, out: Annotated[Path, typer.Option("--out", help="Where predictions go.")]
) -> None:
    """The reference entry without learning: dark is structure."""
    threshold_crops(DataFolder(data), out, progress=say)


@app.command()
def pack(
    predictions: Annotated[Path, typer.Argument(help="What predict or threshold wrote.")],
    manifest: Annotated[Path, typer.Option(help="The challenge's manifest: CSV or its folder.")],
    out: Annotated[Path, typer.Option("--out", help="The zip to write.")],
) -> None:
    """Write predictions as a submission, and check it as the server will."""
    report = pack_predictions(predictions, load_manifest(manifest), out)
    for problem in report.problems:
        say(f"{problem.severity}: {problem.message}")
    say(f"{out}: {'accepted' if report.accepted else 'would be rejected'}")
    if not report.accepted:
        raise typer.Exit(1)


def _triple(text: str, option: str) -> tuple[float, float, float]:
    try:
        z, y, x = map(float, text.split(","))
    except ValueError:
        raise DataError(f"{option} needs three numbers Z,Y,X, not {text!r}.") from None
    if not all(0 < value < math.inf for value in (z, y, x)):
        raise DataError(f"{option} needs numbers above 0, not {text!r}.")
    return (z, y, x)


def _shape(text: str) -> Shape:
    z, y, x = _triple(text, "--shape")
    shape = (int(z), int(y), int(x))
    if shape != (z, y, x):
        raise DataError(f"--shape needs whole numbers, not {text!r}.")
    return shape


def _counts(text: str) -> dict[str, int]:
    if not re.fullmatch(r"(train|hidden):\d+(,(train|hidden):\d+)*", text):
        raise DataError(f"--crops needs the form train:2,hidden:1, not {text!r}.")
    counts = {name: int(n) for name, n in (part.split(":") for part in text.split(","))}
    if not any(counts.values()):
        raise DataError(f"--crops needs at least one crop, not {text!r}.")
    return counts


def _range(text: str) -> tuple[int, ...]:
    if not text:
        return ()
    if not re.fullmatch(r"\d+:\d+", text):
        raise DataError(f"--planes needs the form FIRST:LAST, not {text!r}.")
    first, last = map(int, text.split(":"))
    return (first, last)
