"""Commands that train, and look after runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from baselines.commands.arguments import Data, Device, Sets, say
from baselines.config import load_config
from baselines.layout import DataFolder

app = typer.Typer()


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A TOML file, or the name of a bundled one.")],
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", help="The run's folder; an unfinished run goes on.")
    ],
    sets: Sets = None,
    device: Device = "auto",
) -> None:
    """Train a network on the training crops."""
    from baselines.checkpoint import Run
    from baselines.training import choose_device
    from baselines.training import train as train_run

    settings = load_config(config, sets or [])
    results = train_run(
        settings, DataFolder(data), Run(out), device=choose_device(device), progress=say
    )
    for label, dice in results.get("dice", {}).items():
        say(f"{label}: validation Dice {dice:.4f} at threshold {results['thresholds'][label]:.2f}")
