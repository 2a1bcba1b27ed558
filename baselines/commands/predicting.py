"""Commands that predict, and pack what was predicted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from baselines.commands.arguments import Data, Device, say
from baselines.layout import DataFolder
from evaluator.manifest import load_manifest

app = typer.Typer()


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="The folder of a trained run.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Where predictions go; resumable.")],
    device: Device = "auto",
) -> None:
    """Predict the hidden crops with a trained network."""
    from baselines.checkpoint import Run
    from baselines.prediction import predict as predict_crops
    from baselines.training import choose_device

    predict_crops(Run(run), DataFolder(data), out, device=choose_device(device), progress=say)


@app.command()
def threshold(
    data: Data, out: Annotated[Path, typer.Option("--out", help="Where predictions go.")]
) -> None:
    """The reference entry without learning: dark is structure."""
    from baselines.threshold import threshold as threshold_crops

    threshold_crops(DataFolder(data), out, progress=say)


@app.command()
def pack(
    predictions: Annotated[Path, typer.Argument(help="What predict or threshold wrote.")],
    manifest: Annotated[Path, typer.Option(help="The challenge's manifest: CSV or its folder.")],
    out: Annotated[Path, typer.Option("--out", help="The zip to write.")],
) -> None:
    """Write predictions as a submission, and check it as the server will."""
    from baselines.pack import pack as pack_predictions

    report = pack_predictions(predictions, load_manifest(manifest), out)
    for problem in report.problems:
        say(f"{problem.severity}: {problem.message}")
    say(f"{out}: {'accepted' if report.accepted else 'would be rejected'}")
    if not report.accepted:
        raise typer.Exit(1)
