"""Commands that make data folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from baselines.commands.arguments import counts_of, range_of, say, shape_of, triple_of
from baselines.layout import DataError, DataFolder

app = typer.Typer()


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
    from baselines.phantoms.phantom import PhantomPlan, write_phantom

    counts = counts_of(crops)
    plan = PhantomPlan(
        shape=shape_of(shape), voxel_size=triple_of(voxel_size, "--voxel-size"), seed=seed,
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
    from baselines.volumes import stack

    if source is not None:
        plan = stack.load_plan(source)
    elif raw is None or not voxel_size:
        raise DataError("import-stack needs --from stack.toml, or --raw and --voxel-size.")
    else:
        plan = stack.plan_of_one(
            raw, labels=labels, masks=mask or [], classes=classes or [], planar=planar,
            voxel_size=triple_of(voxel_size, "--voxel-size"), crop=crop, split=split,
            planes=range_of(planes),
        )  # fmt: skip
    stack.import_stacks(plan, DataFolder(out), progress=say)
