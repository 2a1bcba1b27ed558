"""The participant's commands towards a server: login, submit, status, board.

`Client` speaks the API; the commands parse, call and print.  Credentials lie in
`crista/credentials.json` of the user's configuration folder, readable by them alone;
CRISTA_SERVER and CRISTA_TOKEN in the environment come first.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.table import Table

from evaluator.digest import file_digest
from evaluator.errors import ServerError, SubmissionError
from evaluator.manifest import Manifest, parse_manifest
from evaluator.submission import check_submission

DONE = frozenset({"scored", "rejected", "failed", "cancelled"})
TRIES = 8
Sent = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Which server to talk to, and the token that says who is asking."""

    server: str
    token: str

    @staticmethod
    def file() -> Path:
        """Where they are kept: `$XDG_CONFIG_HOME/crista/credentials.json`, else in `~/.config`."""
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(base) / "crista" / "credentials.json"

    @classmethod
    def load(cls) -> Credentials:
        """From the environment, else from the file.  ServerError: nobody has logged in."""
        server, token = os.environ.get("CRISTA_SERVER"), os.environ.get("CRISTA_TOKEN")
        try:
            kept = json.loads(cls.file().read_text("utf-8"))
            return cls(server or kept["server"], token or kept["token"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if server and token:
                return cls(server, token)
            raise ServerError("Not logged in. Run: evaluator login https://SERVER") from error

    def save(self) -> None:
        """Write the file so that only this user can read it."""
        path = self.file()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"server": self.server, "token": self.token}, file)


class Client:
    """A Crista server's API.  Every method raises ServerError with the server's own sentence."""

    def __init__(self, server: str, token: str | None = None) -> None:
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.server = server.rstrip("/")
        self._http = httpx.Client(base_url=f"{self.server}/api/", headers=headers, timeout=60)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """One request; a refusal or an unreachable server becomes ServerError."""
        try:
            response = self._http.request(method, path, **arguments)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServerError(
                f"{self.server} cannot be reached ({error}). Check the address and the network."
            ) from error
        if response.is_error:
            raise ServerError(_sentence(response))
        return response

    def login(self, *, email: str, password: str, name: str) -> Credentials:
        """Trade a password for a token."""
        body = {"email": email, "password": password, "name": name}
        return Credentials(self.server, self.call("POST", "tokens/", json=body).json()["token"])

    def manifest(self, challenge: str, phase: str) -> Manifest:
        """The manifest of a phase, as the server scores it."""
        base = f"challenges/{challenge}/phases/{phase}"
        table = self.call("GET", f"{base}/manifest.csv").text
        return parse_manifest(table, self.call("GET", f"{base}/labels.toml").text)

    def phase(self, challenge: str, wanted: str) -> str:
        """The wanted phase of a challenge; the one that is open if none is named.

        ServerError lists what there is: no such challenge, no such phase, or several open ones.
        """
        known = [row["slug"] for row in self._rows("challenges/")]
        if challenge not in known:
            listed = ", ".join(known) or "none"
            raise ServerError(f"{self.server} has no challenge {challenge!r}. It has: {listed}.")
        phases = self.call("GET", f"challenges/{challenge}/").json()["phases"]
        chosen = [
            row["slug"] for row in phases if (row["slug"] == wanted if wanted else row["open"])
        ]
        if len(chosen) != 1:
            listed = ", ".join(f"{p['slug']} ({'open' if p['open'] else 'closed'})" for p in phases)
            raise ServerError(f"{challenge} has these phases: {listed}. Name one with --phase.")
        return str(chosen[0])

    def upload(self, path: Path, *, about: dict[str, str], sent: Sent) -> str:
        """Send a file in parts and have its digest verified; the id of the finished upload.

        A lost connection is taken up again where the server stands.  What cannot be finished is
        discarded, so that nothing half-sent blocks the next try.
        """
        body = {**about, "filename": path.name, "size": path.stat().st_size}
        body["sha256"] = file_digest(path)
        begun = self.call("POST", "uploads/", json=body).json()
        url = f"uploads/{begun['id']}/"
        try:
            self._send(path, url, part=int(begun["part_size"]), sent=sent)
            # The server reads the whole file again for its digest: 100 GB take minutes.
            self.call("POST", f"{url}finish/", timeout=3600)
        except (ServerError, KeyboardInterrupt):
            self._discard(url)
            raise
        return str(begun["id"])

    def submit(self, upload: str, *, method: str, description: str) -> dict[str, Any]:
        """Make a finished upload a submission."""
        body = {"upload": upload, "method": method, "description": description}
        return dict(self.call("POST", "submissions/", json=body).json())

    def submission(self, number: str) -> dict[str, Any]:
        """How a submission stands."""
        return dict(self.call("GET", f"submissions/{number}/").json())

    def submissions(self) -> list[dict[str, Any]]:
        """All submissions of one's teams, newest first."""
        return self._rows("submissions/")

    def _rows(self, path: str) -> list[dict[str, Any]]:
        """All rows of a list, page after page."""
        rows, page = [], self.call("GET", path).json()
        while isinstance(page, dict):
            rows += page["results"]
            if not page["next"]:
                return rows
            page = self.call("GET", page["next"]).json()
        return list(page)

    def _send(self, path: Path, url: str, *, part: int, sent: Sent) -> None:
        size, offset, failures = path.stat().st_size, 0, 0
        with path.open("rb") as file:
            while offset < size:
                try:
                    if failures:
                        time.sleep(min(2.0**failures / 4, 20.0))
                        offset = self._offset(url)
                    file.seek(offset)
                    offset = self._send_part(url, offset, file.read(part))
                    failures = 0
                except httpx.TransportError as error:
                    failures += 1
                    if failures >= TRIES:
                        raise ServerError(
                            f"The connection broke {TRIES} times: {error}."
                        ) from error
                sent(offset)

    def _offset(self, url: str) -> int:
        """How many bytes the server has."""
        response = self._http.head(url)
        if response.is_error:
            raise ServerError(_sentence(response))
        return int(response.headers["Upload-Offset"])

    def _send_part(self, url: str, offset: int, part: bytes) -> int:
        kind = "application/offset+octet-stream"
        headers = {"Upload-Offset": str(offset), "Content-Type": kind}
        response = self._http.patch(url, content=part, headers=headers, timeout=600)
        if response.is_error:
            raise ServerError(_sentence(response))
        return int(response.headers["Upload-Offset"])

    def _discard(self, url: str) -> None:
        try:
            self.call("DELETE", url)
        except ServerError as error:
            Console(stderr=True).print(f"The unfinished upload stays until it expires: {error}")


def register(app: typer.Typer) -> None:
    """Add the commands to the evaluator's own."""
    for command in (login, submit, status, board):
        app.command()(command)


def login(
    server: Annotated[str, typer.Argument(help="Address of the server, e.g. https://crista.org")],
    email: Annotated[str, typer.Option(prompt=True, help="E-mail address of your account.")],
    password: Annotated[str, typer.Option(prompt=True, hide_input=True, envvar="CRISTA_PASSWORD")],
    name: Annotated[str, typer.Option(help="What the token is called on your page.")] = "evaluator",
) -> None:
    """Log in to a server; later commands use the token it gives."""
    with Client(server) as client:
        credentials = client.login(email=email, password=password, name=name)
    credentials.save()
    print(f"Logged in to {credentials.server} as {email}. The token is in {Credentials.file()}")


def submit(
    submission: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The zip.")],
    challenge: Annotated[str, typer.Option(help="Name of the challenge in its address.")],
    method: Annotated[str, typer.Option(help="Name of the method, as the board shows it.")],
    phase: Annotated[str, typer.Option(help="Phase; the open one if there is just one.")] = "",
    team: Annotated[str, typer.Option(help="Team; your own if left out.")] = "",
    description: Annotated[str, typer.Option(help="What the method does.")] = "",
    watch: Annotated[bool, typer.Option(help="Stay and show the progress.")] = False,
) -> None:
    """Check a submission, upload it and have it scored."""
    with _client() as client:
        phase = client.phase(challenge, phase)
        _check_first(submission, client.manifest(challenge, phase))
        about = {"challenge": challenge, "phase": phase} | ({"team": team} if team else {})
        with Progress(
            "Uploading", BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=_stderr()
        ) as bar:
            task = bar.add_task("", total=submission.stat().st_size)
            upload = client.upload(
                submission, about=about, sent=lambda n: bar.update(task, completed=n)
            )
        row = client.submit(upload, method=method, description=description)
        print(f"Submission {row['id']} is {row['status']}: {row['url']}")
        if watch:
            _watch(client, str(row["id"]))


def status(
    number: Annotated[str, typer.Argument(help="Number of a submission; all if left out.")] = "",
    watch: Annotated[bool, typer.Option(help="Stay until it is scored.")] = False,
) -> None:
    """Show how your submissions stand."""
    with _client() as client:
        if number and watch:
            _watch(client, number)
        elif number:
            _print_submission(client.submission(number))
        else:
            columns = ("id", "challenge", "phase", "team", "method", "status", "overall")
            _print_table(columns, client.submissions())


def board(
    challenge: Annotated[str, typer.Argument(help="Name of the challenge in its address.")],
    phase: Annotated[str, typer.Option(help="Phase; the open one if there is just one.")] = "",
    label: Annotated[str, typer.Option(help="One label instead of the overall score.")] = "",
) -> None:
    """Show the leaderboard."""
    with _client() as client:
        phase = client.phase(challenge, phase)
        query = {"label": label} if label else {}
        page = client.call("GET", f"challenges/{challenge}/phases/{phase}/board/", params=query)
        columns = ("rank", "team", "method", "score", "instance", "semantic", "submitted")
        rows = [{**row, "submitted": row["submitted"][:10]} for row in page.json()["rows"]]
        _print_table(columns, rows)


def _client() -> Client:
    credentials = Credentials.load()
    return Client(credentials.server, credentials.token)


def _stderr() -> Console:
    return Console(stderr=True)


def _check_first(submission: Path, manifest: Manifest) -> None:
    """Say what is wrong before gigabytes travel; only what concerns the whole archive stops us."""
    report = check_submission(submission, manifest)
    for problem in report.problems:
        _stderr().print(f"{problem.message} {problem.remedy}", markup=False, highlight=False)
    if not report.accepted:
        raise SubmissionError(f"{submission} would be rejected; nothing was uploaded.")


def _watch(client: Client, number: str) -> None:
    """Show progress until the submission has ended.  SubmissionError: it did not get a score."""
    with Progress("{task.description}", BarColumn(), "{task.completed}/{task.total} targets",
                  console=_stderr()) as bar:  # fmt: skip
        task = bar.add_task("received", total=None)
        while (row := client.submission(number))["status"] not in DONE:
            bar.update(task, description=row["status"], total=row["total"], completed=row["done"])
            time.sleep(1.0)
        bar.update(task, description=row["status"], total=row["total"], completed=row["done"])
    _print_submission(row)
    if row["status"] != "scored":
        raise SubmissionError(f"Submission {number} was not scored.")


def _print_submission(row: dict[str, Any]) -> None:
    print(f"Submission {row['id']} ({row['method']}, {row['team']}): {row['status']}")
    if row.get("message"):
        print(row["message"])
    if row.get("overall") is not None:
        print(f"Overall {row['overall']:.4f}")
    for problem in (row.get("report") or {}).get("problems", []):
        print(f"  {problem['message']} {problem['remedy']}")


def _print_table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    table = Table(*columns)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    Console().print(table if rows else "Nothing here yet.")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _sentence(response: httpx.Response) -> str:
    """The server's own words, or the status where it has none."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"The server answered {response.status_code} {response.reason_phrase}."
