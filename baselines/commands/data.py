"""Commands that fetch data, look at them, and split them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from baselines.commands.arguments import say, triple_of

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
    from baselines.fetch import fetch as fetch_crops
    from baselines.fetch_plan import Choice
    from baselines.published import choose, layout_of
    from baselines.store import open_store

    size = triple_of(voxel_size, "--voxel-size") if voxel_size else ()
    store = open_store(source, endpoint=endpoint, region=region, signed=signed, parallel=parallel)
    wanted = choose(
        store, layout_of(store, raw=raw, truth=truth), crops=crops, labels=_names(labels)
    )
    choice = Choice(padding=raw_padding, voxel_size=size, all_levels=all_levels)
    fetch_crops(
        store, wanted, dest, choice, parallel=parallel, verify=verify, dry_run=dry_run,
        progress=say,
    )  # fmt: skip


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
