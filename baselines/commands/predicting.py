"""Commands that predict, and pack what was predicted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baselines.commands.arguments import Data, Device, Sets, names_of, say
from baselines.config import Config, ConfigError, load_config
from baselines.layout import DataError, DataFolder
from baselines.progress import counted
from evaluator.manifest import load_manifest

if TYPE_CHECKING:
    from baselines.predicting.subjects import Subject
    from baselines.runs.checkpoint import Run

app = typer.Typer()

OF_RAW = ("raw", "channel", "coarsest")  # settings of data that a trained network does not know of


@app.command()
def predict(
    out: Annotated[Path, typer.Option("--out", help="Where predictions go; resumable.")],
    run: Annotated[
        Path | None, typer.Argument(help="The folder of a trained run, or of an ensemble of them.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Predict test crops: of a data folder, or fetched ones."),
    ] = None,
    crops: Annotated[
        str, typer.Option(help="Of these: test (all), or names as in 557,558.")
    ] = "test",
    image: Annotated[
        list[Path] | None,
        typer.Option(help="Predict a TIFF, a PNG, an OME-Zarr or a folder of planes."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Predict every image in a folder, each by itself.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="In place of a run: best_model.pth or .safetensors,")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="and the config.json that goes with it.")
    ] = None,
    sets: Sets = None,
    device: Device = "auto",
    dask: Annotated[
        str, typer.Option(help="Address of a Dask scheduler whose workers are to compute.")
    ] = "",
) -> None:
    """Predict crops or images with a trained network, or with several."""
    from baselines.data.hidden import label_definitions
    from baselines.predicting.prediction import predict as predict_subjects
    from baselines.predicting.team import team_of

    members = _members(run, model, config)
    settings = load_config(members[0].settings, _about_prediction(sets or []))
    subjects = _subjects(data, crops, image or [], images, settings)
    known = label_definitions(DataFolder(data)) if data else {}
    predict_subjects(
        team_of(members, settings), subjects, out, device=device, cluster=dask,
        ids={name: label.id for name, label in known.items()}, progress=say,
    )  # fmt: skip
    say(f"done: {out} holds {counted(len(subjects), 'prediction')}")


def _members(run: Path | None, model: Path | None, config: Path | None) -> list[Run]:
    from baselines.runs.checkpoint import Run, members

    if run and not (model or config):
        return members(run)
    if model and config and not run:
        return [Run.of(model, config)]
    raise ConfigError("give the folder of a run, or --model together with --config.")


def _subjects(
    data: Path | None, crops: str, image: list[Path], images: Path | None, settings: Config
) -> list[Subject]:
    from baselines.predicting.subjects import hidden_crops, images_at, images_in

    if sum(map(bool, (data, image, images))) != 1:
        raise DataError("give one of --data, --image and --images: what is to be predicted.")
    if crops != "test" and not data:
        raise DataError("--crops names test crops: give their folder with --data, and no images.")
    if data:
        names = [] if crops == "test" else names_of(crops)
        if crops != "test" and not names:
            raise DataError(f"--crops needs test, or names as in 557,558, not {crops!r}.")
        return hidden_crops(DataFolder(data), names, raw=settings.data.raw)
    return images_in(images) if images else images_at(image)


def _about_prediction(sets: list[str]) -> list[str]:
    for text in sets:
        if not text.startswith(("prediction.", "objects.", *(f"data.{key}=" for key in OF_RAW))):
            raise ConfigError(
                f"--set {text}: a trained network keeps its settings; those of prediction and "
                f"objects, and {', '.join(f'data.{key}' for key in OF_RAW)}, can be others."
            )
    return sets


@app.command()
def threshold(
    data: Data, out: Annotated[Path, typer.Option("--out", help="Where predictions go.")]
) -> None:
    """The reference entry without learning: dark is structure."""
    from baselines.predicting.threshold import threshold as threshold_crops

    threshold_crops(DataFolder(data), out, progress=say)


@app.command()
def pack(
    predictions: Annotated[Path, typer.Argument(help="What predict or threshold wrote.")],
    manifest: Annotated[
        Path, typer.Option(help="The challenge's manifest: a CSV, its folder, or that of the data.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The zip to write.")],
    most_objects: Annotated[
        int, typer.Option(help="Above this, a warning: scores take time by the object.")
    ] = 100_000,
) -> None:
    """Write predictions as a submission, and check it as the server will."""
    from baselines.data.hidden import manifest_at
    from baselines.predicting.pack import described
    from baselines.predicting.pack import pack as pack_predictions

    if out.is_dir():
        raise DataError(f"{out} is a folder: --out needs a file, such as {out}/submission.zip.")
    report = pack_predictions(
        predictions, load_manifest(manifest_at(manifest)), out, most_objects=most_objects
    )  # fmt: skip
    for line in described(report):
        say(line)
    say(f"{out}: {'accepted' if report.accepted else 'would be rejected'}")
    if not report.accepted:
        raise typer.Exit(1)


@app.command()
def objects(
    predictions: Annotated[Path, typer.Argument(help="The folder that predict wrote.")],
    crop: Annotated[list[str] | None, typer.Option(help="Only this crop; repeatable.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only this label; repeatable.")] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE: mask, seed_mask, seed_contour, seed_distance, "
                     "bias, smallest_nm3 or fill_holes; repeatable."),
    ] = None,
    stats: Annotated[bool, typer.Option(help="Write a CSV with a row per object.")] = False,
) -> None:  # fmt: skip
    """Make masks and objects anew from stored probabilities, or tables of objects."""
    from baselines.predicting.remaking import remake, value_of

    changes = dict(value_of(text) for text in change or [])
    remake(
        predictions, crops=crop or (), labels=label or (), changes=changes, stats=stats,
        progress=say,
    )  # fmt: skip
