"""The commands of participants: parse, call, print.

Whatever a command prints as a table it prints as JSON with --json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from evaluator import commands, experts
from evaluator.errors import EvaluatorError, meant
from evaluator.journal import write_whole
from evaluator.local import Run, need_truth, say, timings
from evaluator.manifest import Manifest, load_manifest
from evaluator.predictions import pack_folder
from evaluator.protocol import get_protocol
from evaluator.report import Problem
from evaluator.results.compare import compare, comparison_lines, comparison_page, contest_sheet
from evaluator.results.explain import explain
from evaluator.results.narration import print_explanation, sheets, write_explanation
from evaluator.results.page import result_page
from evaluator.results.problems import problem_lines
from evaluator.results.saved import read_result, saved
from evaluator.results.tables import (
    counted,
    difference_sheet,
    label_sheet,
    print_result,
    print_sheet,
    protocol_sheet,
    rule_sheet,
    target_sheet,
)
from evaluator.runner import Scorer
from evaluator.submission import check_submission
from evaluator.version import __version__

EXIT_CODES = (
    "Exit codes: 0 all is well; 1 refused: a check found problems, a server said no, a submission "
    "was rejected or cancelled; 2 it cannot be done as it was asked for, with a sentence why; 3 a "
    "server cannot be reached, or the fault is its own; 130 stopped by Ctrl-C."
)

app = typer.Typer(
    help="Check, score and submit 3D segmentations.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
commands.register(app)
experts.register(app)

ManifestOption = Annotated[
    Path, typer.Option("--manifest", help="CSV or folder of the challenge's manifest.")
]
SubmissionArgument = Annotated[Path, typer.Argument(help="Zip, or folder of the same layout.")]
TruthOption = Annotated[Path, typer.Option(help="Folder with the truth, laid out <crop>/<label>.")]
ProtocolOption = Annotated[str, typer.Option(help="Rules of scoring; see `protocols`.")]
LabelsOption = Annotated[str, typer.Option(help="Only these labels: a,b.")]
CropsOption = Annotated[str, typer.Option(help="Only these crops: 557,558.")]
InstancesOption = Annotated[
    str, typer.Option(help="Labels scored object by object, a,b; the others are semantic.")
]
ResultArgument = Annotated[Path, typer.Argument(help="A result that `score --json` wrote.")]
CsvOption = Annotated[Path | None, typer.Option(help="File for the table as CSV.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
HtmlOption = Annotated[Path | None, typer.Option(help="File for a page with plots.")]


def main() -> None:
    """Run a command; an error that has a sentence for the user ends with it and its exit code."""
    try:
        app()
    except EvaluatorError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
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
def check(
    submission: SubmissionArgument,
    manifest: ManifestOption,
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as JSON.")] = False,
) -> None:
    """Say in seconds what is wrong with a submission, without reading its voxels."""
    targets = load_manifest(manifest)
    _need(submission)
    report = check_submission(submission, targets)
    values = report.to_json()
    print(json.dumps(values, indent=2) if as_json else "\n".join(problem_lines(values)))
    if any(problem.severity != "ignored" for problem in report.problems):
        raise typer.Exit(1)


@app.command()
def score(
    submission: SubmissionArgument,
    truth: TruthOption,
    manifest: ManifestOption,
    protocol: ProtocolOption = "crista-1",
    json_out: Annotated[
        str, typer.Option("--json", help="File for the result as JSON; - prints it.")
    ] = "",
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one per processor.")] = 1,
    labels: LabelsOption = "",
    crops: CropsOption = "",
    instance_classes: InstancesOption = "",
    timings_out: Annotated[
        Path | None, typer.Option("--timings", help="File for the seconds of each target, JSON.")
    ] = None,
    verbose: Annotated[bool, typer.Option(help="A line per finished target.")] = False,
) -> None:
    """Score a submission against the truth, exactly as the server does.

    With --json FILE, a run that was interrupted goes on where it was.
    """
    rules = get_protocol(protocol)
    _need(submission)
    targets = _manifest(manifest, labels=labels, crops=crops, instances=instance_classes)
    kept = Path(json_out) if json_out not in ("", "-") else None
    run = Run(submission, truth, targets, rules, jobs=jobs, kept=kept, verbose=verbose)
    try:
        text = run.score().to_json()
    except KeyboardInterrupt as stop:
        again = " The same command goes on from there." if kept else ""
        say(f"Stopped; {counted(len(run.seconds), 'target')} scored.{again}")
        raise typer.Exit(130) from stop
    if kept:
        write_whole(kept, text)
        run.finished()
    result = saved(json_out or "result", json.loads(text))
    if json_out == "-":
        sys.stdout.write(text)
        say(f"sha256 {result.digest}")
    else:
        print_result(result, _console(), targets=False)
    if timings_out:
        write_whole(timings_out, json.dumps(run.seconds, indent=1, sort_keys=True) + "\n")
    say(timings(run.seconds))


@app.command()
def pack(
    folder: Annotated[
        Path, typer.Argument(help="Folder laid out <crop>/<label>: Zarr, OME-Zarr or TIFF stacks.")
    ],
    manifest: ManifestOption,
    out: Annotated[Path, typer.Option(help="The zip to write.")],
    resample: Annotated[
        bool, typer.Option("--resample", help="Take arrays on another grid onto the target's.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Pack predictions into a submission that `check` accepts; exit code 1 if any is missing."""
    if not folder.is_dir():
        raise EvaluatorError(f"There is no folder {folder}.")
    report = pack_folder(folder, load_manifest(manifest), out, resample=resample)
    for problem in report.problems:
        print(_line(problem), file=sys.stderr)
    packed = sum(status == "ok" for status in report.targets.values())
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        print(f"Packed {packed} of {len(report.targets)} targets into {out}.")
    if packed < len(report.targets):
        raise typer.Exit(1)


@app.command()
def show(
    result: ResultArgument,
    targets: Annotated[bool, typer.Option("--targets", help="A row per target.")] = False,
    csv: CsvOption = None,
    html: HtmlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a result as a table, or write it as CSV or as a page with plots."""
    read = read_result(result)
    sheet = target_sheet(read) if targets else label_sheet(read)
    if as_json:
        print(json.dumps(sheet.to_json(), indent=1))
    else:
        print_result(read, _console(), targets=targets)
    if csv:
        write_whole(csv, sheet.to_csv())
    if html:
        write_whole(html, result_page(read))


@app.command("compare")
def compare_results(
    a: ResultArgument,
    b: ResultArgument,
    csv: CsvOption = None,
    html: HtmlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which of two results won where, and by how much."""
    found = compare(read_result(a), read_result(b))
    labels = contest_sheet(found.labels, named="label")
    targets = contest_sheet(found.targets, named="target")
    told = list(comparison_lines(found))
    if as_json:
        tables = {"labels": labels.to_json(), "targets": targets.to_json(), "told": told}
        print(json.dumps(tables, indent=1))
    else:
        print_sheet(labels, _console())
        print_sheet(targets, _console())
        print("\n".join(told))
    if csv:
        write_whole(csv, targets.to_csv())
    if html:
        write_whole(html, comparison_page(found))


@app.command()
def protocols(
    name: Annotated[str, typer.Argument(help="One of them, to see its rules.")] = "",
    against: Annotated[str, typer.Option(help="Another one, to see what differs.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the rule books of scoring, or the rules of one with their reasons."""
    if not name and as_json:
        print(json.dumps(protocol_sheet().to_json(), indent=1))
        return
    if not name:
        print_sheet(protocol_sheet(), _console())
        print("Rules and reasons: evaluator protocols NAME; differences: --against OTHER")
        return
    ours = get_protocol(name)
    other = against or ours.beside
    sheet = difference_sheet(ours, get_protocol(other)) if other else rule_sheet(ours)
    if as_json:
        print(json.dumps(sheet.to_json(), indent=1))
        return
    print(f"{ours.name}: {ours.summary}")
    print_sheet(sheet, _console())
    if other:
        print(f"{len(sheet.rows)} rules differ; the reason is that for the sound choice.")


@app.command("explain")
def explain_target(
    target: Annotated[str, typer.Argument(help="Such as crop557/mito.")],
    submission: Annotated[Path, typer.Option(help="Zip, or folder of the same layout.")],
    truth: TruthOption,
    manifest: ManifestOption,
    protocol: ProtocolOption = "crista-1",
    instance_classes: InstancesOption = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for a picture of the worst, and tables as CSV.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a target scored what it did: its pairs, its worst objects or planes."""
    targets = _manifest(manifest, labels="", crops="", instances=instance_classes)
    if target not in targets.by_path:
        hint = meant(target, targets.by_path) or f"; they are named like {targets.targets[0].path}"
        raise EvaluatorError(f"The manifest has no target {target!r}{hint}.")
    _need(submission)
    need_truth(truth)
    scorer = Scorer.open(submission, targets, truth, get_protocol(protocol))
    told = explain(targets.by_path[target], scorer)
    written = list(write_explanation(told, out)) if out else []
    if as_json:
        tables = {title: sheet.to_json() for title, sheet in sheets(told)}
        print(json.dumps({"score": told.score.to_json(), "tables": tables}, indent=1))
    else:
        print_explanation(told, _console())
    for path in written:
        say(f"wrote {path}") if as_json else print(f"wrote {path}")


def _need(submission: Path) -> None:
    if not submission.exists():
        raise EvaluatorError(f"{submission} does not exist. Check the path.")


def _console() -> Console:
    """The terminal; where there is none, lines as long as a table needs."""
    return Console(width=None if sys.stdout.isatty() else 140, highlight=False)


def _manifest(path: Path, *, labels: str, crops: str, instances: str) -> Manifest:
    """The manifest, restricted and changed as the options say; a changed one is told."""
    whole = load_manifest(path)
    changed = whole.part(labels=_names(labels), crops=_names(crops))
    if instances:
        changed = changed.with_instances(_names(instances))
    if changed.digest != whole.digest:
        say(
            f"{len(changed.targets)} of {len(whole.targets)} targets; the digest of this manifest "
            f"is {changed.digest[:12]}…, not {whole.digest[:12]}… of {path}: the result cannot be "
            "set beside results of the whole."
        )
    return changed


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _line(problem: Problem) -> str:
    return f"{problem.severity:>8}  {problem.message} {problem.remedy}"
