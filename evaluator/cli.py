"""The commands of participants: parse, call, print.

Exit codes: 0 all is well; 1 a check found problems; 2 it could not be done, with one sentence why.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from evaluator import client
from evaluator.errors import EvaluatorError
from evaluator.manifest import load_manifest
from evaluator.packing import pack_folder
from evaluator.protocol import get_protocol
from evaluator.report import Problem, Report
from evaluator.runner import score_submission
from evaluator.scores import SCHEMA, Result, TargetScore
from evaluator.submission import check_submission
from evaluator.version import __version__

app = typer.Typer(
    help="Check, score and submit 3D segmentations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
client.register(app)

ManifestOption = Annotated[
    Path, typer.Option("--manifest", help="CSV or folder of the challenge's manifest.")
]
SubmissionArgument = Annotated[Path, typer.Argument(help="Zip, or folder of the same layout.")]


def main() -> None:
    """Run a command; an error that has a sentence for the user ends with it and exit code 2."""
    try:
        app()
    except EvaluatorError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(0)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"evaluator {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    """Check, score and submit 3D segmentations."""


@app.command()
def check(submission: SubmissionArgument, manifest: ManifestOption) -> None:
    """Say in seconds what is wrong with a submission, without reading its voxels."""
    report = check_submission(submission, load_manifest(manifest))
    for problem in report.problems:
        print(_line(problem))
    print(_verdict(report))
    if any(problem.severity != "ignored" for problem in report.problems):
        raise typer.Exit(1)


@app.command()
def score(
    submission: SubmissionArgument,
    truth: Annotated[Path, typer.Option(help="Folder with the truth, laid out <crop>/<label>.")],
    manifest: ManifestOption,
    protocol: Annotated[str, typer.Option(help="Rules of scoring.")] = "crista-1",
    json_out: Annotated[
        str, typer.Option("--json", help="File for the result as JSON; - prints it.")
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Score a submission against the truth, exactly as the server does."""
    rules, targets = get_protocol(protocol), load_manifest(manifest)
    if not truth.is_dir():
        raise EvaluatorError(f"There is no folder {truth}; --truth is the folder of the truth.")
    seconds: dict[str, float] = {}
    with _progress() as bar:
        task = bar.add_task("scoring", total=len(targets.targets))

        def tell(done: TargetScore, took: float) -> None:
            seconds[done.path] = took
            bar.update(task, advance=1, description=done.path)

        result = score_submission(
            submission, truth=truth, manifest=targets, protocol=rules, jobs=jobs, progress=tell
        )
    text = result.to_json()
    if json_out == "-":
        sys.stdout.write(text)
    elif json_out:
        _write(Path(json_out), text)
    else:
        _print_result(json.loads(text))
    _print_timings(seconds)


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(help="Folder of Zarr arrays laid out <crop>/<label>.")],
    manifest: ManifestOption,
    out: Annotated[Path, typer.Option(help="The zip to write.")],
) -> None:
    """Pack predictions into a submission that `check` accepts."""
    if not folder.is_dir():
        raise EvaluatorError(f"There is no folder {folder}.")
    report = pack_folder(folder, load_manifest(manifest), out)
    for problem in report.problems:
        print(_line(problem), file=sys.stderr)
    packed = sum(status == "ok" for status in report.targets.values())
    print(f"Packed {packed} of {len(report.targets)} targets into {out}.")


@app.command()
def show(
    result: Annotated[Path, typer.Argument(help="A result that `score --json` wrote.")],
) -> None:
    """Print a result as a table."""
    _print_result(_read_result(result))


def _line(problem: Problem) -> str:
    return f"{problem.severity:>8}  {problem.message} {problem.remedy}"


def _verdict(report: Report) -> str:
    found = list(report.targets.values())
    counted = ", ".join(f"{found.count(s)} {s}" for s in ("ok", "missing", "unreadable"))
    verdict = "accepted" if report.accepted else "rejected"
    return f"{verdict}: {counted} of {len(found)} targets"


def _progress() -> Progress:
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "ascii")
    except OSError as error:
        raise EvaluatorError(f"{path} cannot be written: {error.strerror}.") from error


def _read_result(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise EvaluatorError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise EvaluatorError(f"{path} is not JSON; expected a result of `score --json`.") from error
    needed = {f.name for f in fields(Result)}
    if not isinstance(values, dict) or values.get("schema") != SCHEMA or needed - set(values):
        raise EvaluatorError(f"{path} is not a result of schema {SCHEMA}.")
    return values


def _print_result(result: dict[str, Any]) -> None:
    """A readable table: one row per label, then the overall scores."""
    columns = ("score", "iou", "dice", "f1", "pq", "mean_iou", "hausdorff_score", "hausdorff_nm")
    counts = ("tp", "fp", "fn")
    table = Table("label", "kind")
    for name in (*columns, *counts):
        table.add_column(name.replace("hausdorff", "hd"), justify="right", no_wrap=True)
    for label, row in result["labels"].items():
        cells = [_ratio(row[name]) for name in columns] + [str(row[name]) for name in counts]
        table.add_row(label, row["kind"], *cells)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    console.print(table)
    parts = ("overall", "instance", "semantic")
    print("  ".join(f"{part} {_ratio(result[part])}" for part in parts))
    worst = [t for t in result["targets"] if t["status"] != "scored"]
    for target in worst:
        print(f"{target['crop']}/{target['label']} is {target['status']} and counts as worst.")
    print(f"protocol {result['protocol']}, evaluator {result['evaluator']}")


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _print_timings(seconds: dict[str, float]) -> None:
    slowest = max(seconds, key=lambda path: seconds[path])
    print(
        f"{len(seconds)} targets in {sum(seconds.values()):.1f} s of work; "
        f"slowest {slowest}, {seconds[slowest]:.1f} s.",
        file=sys.stderr,
    )
