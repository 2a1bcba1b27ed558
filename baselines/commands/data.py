"""Commands that fetch data, look at them, and split them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from baselines.commands.arguments import Sets, names_of, numbers_of, say, triple_of
from baselines.config import SplitConfig, load_config
from baselines.layout import DataError

app = typer.Typer()


@app.command()
def fetch(
    source: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX, http(s)://…, or a folder.")],
    dest: Annotated[Path, typer.Option("--dest", help="The folder to fill; it mirrors the store.")],
    crops: Annotated[str, typer.Option(help="all, test, or names as in 557,558.")] = "all",
    labels: Annotated[str, typer.Option(help="Only these labels, as in mito,nuc.")] = "",
    raw_padding: Annotated[
        int, typer.Option(help="Voxels of raw around each crop, at every level.", min=0)
    ] = 0,
    voxel_size: Annotated[
        str, typer.Option(help="nm, Z,Y,X: only the level that such a model reads.")
    ] = "",
    all_levels: Annotated[
        bool, typer.Option("--all-levels", help="Raw at every resolution, however fine.")
    ] = False,
    raw: Annotated[str, typer.Option(help="Where raw lies, with {dataset} and {crop}.")] = "",
    truth: Annotated[
        str, typer.Option(help="Where annotations lie, with {dataset}, {crop}, {label}.")
    ] = "",
    endpoint: Annotated[
        str, typer.Option(envvar="AWS_ENDPOINT_URL", help="Of a server that speaks S3.")
    ] = "",
    region: Annotated[str, typer.Option(envvar="AWS_REGION", help="Of the bucket.")] = "",
    signed: Annotated[
        bool, typer.Option("--signed", help="With the credentials of the AWS tools.")
    ] = False,
    parallel: Annotated[int, typer.Option(help="Requests at once.", min=1, max=512)] = 32,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash what is there; fetch again what is damaged.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how much it is, and stop.")
    ] = False,
) -> None:
    """Fetch crops and the raw around them; resumable.  Says first how many bytes it will be."""
    from baselines.fetching.fetch import fetch as fetch_crops
    from baselines.fetching.fetch_plan import Choice
    from baselines.fetching.published import choose, layout_of
    from baselines.fetching.store import open_store

    size = triple_of(voxel_size, "--voxel-size") if voxel_size else ()
    store = open_store(source, endpoint=endpoint, region=region, signed=signed, parallel=parallel)
    wanted = choose(
        store, layout_of(store, raw=raw, truth=truth), crops=crops, labels=names_of(labels)
    )
    choice = Choice(padding=raw_padding, voxel_size=size, all_levels=all_levels)
    fetch_crops(
        store, wanted, dest, choice, parallel=parallel, verify=verify, dry_run=dry_run,
        progress=say,
    )  # fmt: skip


@app.command()
def inspect(
    data: Annotated[Path, typer.Argument(help="The folder of data.")],
    config: Annotated[
        Path, typer.Option(help="The settings to train with: a TOML file, or a bundled one.")
    ] = Path("unet2d"),
    labels: Annotated[
        str, typer.Option("-c", "--labels", help="Labels, as in mito,nuc; all if not given.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="JSON, for programs.")] = False,
    objects: Annotated[bool, typer.Option(help="Measure objects, which takes longest.")] = True,
    sets: Sets = None,
) -> None:
    """Look for what is wrong with data before any training.  Exit status 2: training would fail."""
    from baselines.inspecting.findings import text_of
    from baselines.inspecting.inspection import inspect as inspect_data

    given = [f"data.labels={names_of(labels)}"] if labels else []
    settings = load_config(config, [*given, *(sets or [])])
    found = inspect_data(data, settings, objects=objects, progress=say)
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        print(*text_of(found), sep="\n")
    if not found.sound:
        raise typer.Exit(2)


@app.command()
def split(
    data: Annotated[Path, typer.Argument(help="The folder of data.")],
    out: Annotated[Path, typer.Option("--out", help="The TOML file to write.")],
    labels: Annotated[
        str, typer.Option("-c", "--labels", help="Labels, as in mito,nuc; all if not given.")
    ] = "",
    voxel_size: Annotated[
        str, typer.Option("-s", "--voxel-size", help="nm, Z,Y,X: of the model.")
    ] = "",
    kind: Annotated[
        str, typer.Option(help="random, kfold or planes; if not given, kfold with --folds.")
    ] = "",
    by: Annotated[str, typer.Option(help="crop, dataset or specimen stay together.")] = "crop",
    folds: Annotated[
        int | None, typer.Option(help="kfold: so many at most; blocks, if there is one crop.")
    ] = None,
    fraction: Annotated[float, typer.Option(help="Share kept for validation.")] = 0.15,
    seed: Annotated[int, typer.Option(help="Same seed, same split.")] = 0,
    drop_empty: Annotated[
        bool, typer.Option("--drop-empty", help="Leave out crops without a voxel of any label.")
    ] = False,
    skip_empty: Annotated[
        bool, typer.Option("--skip-empty", help="Leave out labels without a voxel.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="Settings to begin with: a TOML file, or a bundled one.")
    ] = None,
    sets: Sets = None,
) -> None:
    """Split annotated crops into what trains and what validates; writes a readable file."""
    from baselines.data.split_file import write_split
    from baselines.data.splitting import describe, make_split

    given: list[str] = [
        f'split.kind="{kind or ("random" if folds is None else "kfold")}"',
        f'split.by="{by}"', f"split.folds={folds or SplitConfig().folds}",
        f"split.fraction={fraction}", f"split.seed={seed}",
    ]  # fmt: skip
    given += [f"data.labels={names_of(labels)}"] if labels else []
    size = triple_of(voxel_size, "--voxel-size") if voxel_size else ()
    given += [f"data.voxel_size={list(size)}"] if size else []
    given += ["data.drop_empty=true"] if drop_empty else []
    given += ["data.skip_empty=true"] if skip_empty else []
    settings = load_config(config or Path("unet2d"), [*given, *(sets or [])])
    made = make_split(data, settings, progress=say)
    write_split(out, made)
    for line in describe(made):
        say(line)
    say(f'{out}: use it with split.kind = "file" and split.file = "{out}"')


@app.command("export-crops")
def export_crops(
    data: Annotated[Path, typer.Argument(help="The folder of data, in any layout.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder, or one to go on with.")],
    crops: Annotated[str, typer.Option(help="Names, as in 557,558; all if not given.")] = "",
    labels: Annotated[
        str, typer.Option("-c", "--labels", help="Labels, as in mito,nuc; all if not given.")
    ] = "",
    padding: Annotated[
        str, typer.Option(help="Voxels of raw around annotations: Z,Y,X, or one number.")
    ] = "0",
    padding_nm: Annotated[float, typer.Option(help="The same in nm.", min=0)] = 0.0,
    voxel_size: Annotated[
        str, typer.Option("-s", "--voxel-size", help="nm, Z,Y,X: which level of raw is taken.")
    ] = "",
    tiff: Annotated[bool, typer.Option("--tiff", help="Stacks in place of arrays.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="Settings to begin with: a TOML file, or a bundled one.")
    ] = None,
    sets: Sets = None,
) -> None:
    """Write annotated crops and the raw around them as small data of their own."""
    from baselines.data.exporting import Padding
    from baselines.data.exporting import export_crops as export

    given = [f"data.labels={names_of(labels)}"] if labels else []
    size = triple_of(voxel_size, "--voxel-size") if voxel_size else ()
    given += [f"data.voxel_size={list(size)}"] if size else []
    settings = load_config(config or Path("unet2d"), [*given, *(sets or [])])
    around = numbers_of(padding, "--padding")
    if len(around) not in (1, 3):
        raise DataError(f"--padding needs one number, or three, Z,Y,X, not {padding!r}.")
    z, y, x = around * (3 // len(around))
    written = export(
        data, out, settings, padding=Padding((z, y, x), padding_nm), names=names_of(crops),
        tiff=tiff, progress=say,
    )  # fmt: skip
    say(f"{out}: {len(written)} crops written")
