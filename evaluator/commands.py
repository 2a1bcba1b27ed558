"""The participant's commands towards a server: they parse, call, print.

With --json each prints what the server answered, on stdout, and nothing else there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.table import Table

from evaluator import pending
from evaluator.client import Client, Credentials
from evaluator.errors import NotScored, ServerError, ServerRefusal, SubmissionError
from evaluator.journal import write_whole
from evaluator.manifest import Manifest
from evaluator.submission import check_submission
from evaluator.uploading import remembered_digest
from evaluator.watching import watch as follow

PhaseOption = Annotated[str, typer.Option(help="Phase; the open one if there is just one.")]
TeamOption = Annotated[str, typer.Option(help="Team; your own if left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
ChallengeArgument = Annotated[str, typer.Argument(help="Name of the challenge in its address.")]
NumberArgument = Annotated[str, typer.Argument(help="Number of the submission.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the evaluator's own."""
    for command in (login, submit, status, quota, board, result, cancel):
        app.command()(command)


def login(
    server: Annotated[str, typer.Argument(help="Address of the server, e.g. https://crista.org")],
    email: Annotated[str, typer.Option(prompt=True, help="E-mail address of your account.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, envvar="CRISTA_PASSWORD")],
    name: Annotated[str, typer.Option(help="What the token is called on your page.")] = "evaluator",
    as_json: JsonOption = False,
) -> None:
    """Log in to a server; later commands use the token it gives."""
    with Client(server) as client:
        credentials = client.login(email=email, password=password, name=name)
    credentials.save()
    if as_json:
        _print_json({"server": credentials.server, "file": str(Credentials.file())})
    else:
        print(f"Logged in to {credentials.server} as {email}. The token is in {Credentials.file()}")


def submit(
    submission: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The zip.")],
    challenge: Annotated[str, typer.Option(help="Name of the challenge in its address.")],
    method: Annotated[str, typer.Option(help="Name of the method, as the board shows it.")],
    phase: PhaseOption = "",
    team: TeamOption = "",
    description: Annotated[str, typer.Option(help="What the method does.")] = "",
    watch: Annotated[bool, typer.Option(help="Stay and show the progress.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a submission, upload it and have it scored; the same command resumes an upload."""
    with _client() as client:
        phase = client.phase(challenge, phase)
        _check_first(submission, client.manifest(challenge, phase))
        about = {"challenge": challenge, "phase": phase} | ({"team": team} if team else {})
        row = _submit_once(client, submission, about, method=method, description=description)
        if as_json and not watch:
            _print_json(row)
        elif not as_json:
            print(f"Submission {row['id']} is {row['status']}: {row['url']}")
        if watch:
            _watch(client, str(row["id"]), as_json=as_json)


def status(
    number: Annotated[str, typer.Argument(help="Number of a submission; all if left out.")] = "",
    watch: Annotated[bool, typer.Option(help="Stay until it is scored.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how your submissions stand."""
    with _client() as client:
        if number and watch:
            _watch(client, number, as_json=as_json)
        elif number:
            row = client.submission(number)
            _print_json(row) if as_json else _print_submission(row)
        else:
            columns = ("id", "challenge", "phase", "team", "method", "status", "overall")
            _print_rows(columns, client.submissions(), as_json=as_json)


def quota(
    challenge: ChallengeArgument,
    phase: PhaseOption = "",
    team: TeamOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show what your team may still submit, and when the next one comes free."""
    with _client() as client:
        found = client.quota(challenge, client.phase(challenge, phase), team=team)
    if as_json:
        _print_json(found)
        return
    rows = [{"what": name, **found[key]} for key, name in ALLOWANCES.items() if found.get(key)]
    for row in rows:
        row["limit"] = "none" if row["limit"] is None else row["limit"]
        row["resets"] = _moment(row["resets"])
    _print_rows(("what", "used", "limit", "left", "resets"), rows, as_json=False)
    print(found.get("refusal") or "You can submit now.")


ALLOWANCES = {
    "per_day": "scored in 24 hours",
    "total": "scored in all",
    "attempts": "attempts in 24 hours",
    "concurrent": "at once",
}


def board(
    challenge: ChallengeArgument,
    phase: PhaseOption = "",
    label: Annotated[str, typer.Option(help="One label instead of the overall score.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Show the leaderboard."""
    with _client() as client:
        found = client.board(challenge, client.phase(challenge, phase), label=label)
    if as_json:
        _print_json(found)
        return
    columns = ("rank", "team", "method", "score", "instance", "semantic", "submitted")
    rows = [{**row, "submitted": (row["submitted"] or "")[:10]} for row in found["rows"]]
    _print_rows(columns, rows, as_json=False)


def result(
    number: NumberArgument,
    out: Annotated[Path | None, typer.Option(help="File for it; else it is printed.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Get the result of a scored submission: the bytes that `evaluator score --json` writes."""
    with _client() as client:
        text = client.result(number)
    if not out:
        sys.stdout.write(text.decode())
        return
    write_whole(out, text.decode())
    if as_json:
        _print_json({"submission": int(number), "file": str(out), "bytes": len(text)})
    else:
        print(f"Wrote {out}. Look at it with: evaluator show {out}")


def cancel(number: NumberArgument, as_json: JsonOption = False) -> None:
    """Stop a submission.  Quota comes back unless scoring has begun."""
    with _client() as client:
        row = client.cancel(number)
    _print_json(row) if as_json else _print_submission(row)


def _client() -> Client:
    credentials = Credentials.load()
    return Client(credentials.server, credentials.token)


def _stderr() -> Console:
    return Console(stderr=True)


def _submit_once(
    client: Client, file: Path, about: dict[str, str], *, method: str, description: str
) -> dict[str, Any]:
    """The submission, which is made once however often this was killed on the way."""
    file_digest = remembered_digest(file)
    parts = (client.server, *about.values(), file_digest, method, description)
    name = pending.key(*parts)
    if upload := pending.noted(name):
        try:
            row = client.submit(upload, method=method, description=description)
        except ServerRefusal:  # it was not made then; or long ago, and this is another one
            row = None
        pending.forget(name)
        if row is not None:
            return row
    upload = _upload(client, file, about)
    pending.note(name, upload)
    row = client.submit(upload, method=method, description=description)
    pending.forget(name)
    return row


def _upload(client: Client, file: Path, about: dict[str, str]) -> str:
    """The id of the upload, once all of the file is there."""
    with Progress(
        "Uploading", BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=_stderr()
    ) as bar:
        task = bar.add_task("", total=file.stat().st_size)
        return client.upload(file, about=about, sent=lambda n: bar.update(task, completed=n))


def _check_first(submission: Path, manifest: Manifest) -> None:
    """Say what is wrong before gigabytes travel; only what concerns the whole archive stops us."""
    report = check_submission(submission, manifest)
    for problem in report.problems:
        _stderr().print(f"{problem.message} {problem.remedy}", markup=False, highlight=False)
    if not report.accepted:
        raise SubmissionError(f"{submission} would be rejected; nothing was uploaded.")


def _watch(client: Client, number: str, *, as_json: bool) -> None:
    """Follow a submission to its end.  NotScored or ServerError: it did not get a score."""
    row = follow(client, number, as_json=as_json)
    if not as_json:
        _print_submission(row)
    if row["status"] == "failed":
        raise ServerError(f"Submission {number} failed, and not by your fault.")
    if row["status"] != "scored":
        raise NotScored(f"Submission {number} was not scored.")


def _print_submission(row: dict[str, Any]) -> None:
    print(f"Submission {row['id']} ({row['method']}, {row['team']}): {row['status']}")
    for sentence in (row.get("message"), row.get("next_step")):
        if sentence:
            print(sentence)
    if row.get("overall") is not None:
        print(f"Overall {row['overall']:.4f}")
    columns = ("label", "kind", "done", "total", "score")
    if row.get("labels"):
        _print_rows(columns, row["labels"], as_json=False)
    for problem in (row.get("report") or {}).get("problems", []):
        print(f"  {problem['message']} {problem['remedy']}")


def _print_rows(columns: Sequence[str], rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        _print_json(rows)
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console().print(table if rows else "Nothing here yet.")


def _print_json(answer: object) -> None:
    print(json.dumps(answer, indent=1))


def _moment(text: str | None) -> str | None:
    """`2026-05-04 09:30:28 UTC` of a server's moment."""
    if text is None:
        return None
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))
