"""A Crista server from outside: who asks, and what its API answers.

Credentials lie in `crista/credentials.json` of the user's configuration folder, readable by them
alone; CRISTA_SERVER and CRISTA_TOKEN in the environment come first.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from evaluator import uploading
from evaluator.answers import sound, wait
from evaluator.errors import NotLoggedIn, ServerError, ServerRefusal
from evaluator.manifest import Manifest, parse_manifest
from evaluator.uploading import Sent

TRIES = 8


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
        """From the environment, else from the file.  NotLoggedIn: there is neither."""
        server, token = os.environ.get("CRISTA_SERVER"), os.environ.get("CRISTA_TOKEN")
        try:
            kept = json.loads(cls.file().read_text("utf-8"))
            return cls(server or kept["server"], token or kept["token"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if server and token:
                return cls(server, token)
            raise NotLoggedIn("Not logged in. Run: evaluator login https://SERVER") from error

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
        self.http = httpx.Client(base_url=f"{self.server}/api/", headers=headers, timeout=60)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def call(self, method: str, path: str, *, tries: int = 1, **arguments: Any) -> httpx.Response:
        """The answer to a request.  Too many requests: it waits as long as the server says.

        tries: how often it is sent if the connection breaks; more than once only if that cannot
        do anything twice.  Raises ServerRefusal if the server says no, and ServerError if it
        cannot be reached or is broken.
        """
        for failures in range(1, max(tries, TRIES) + 1):
            try:
                response = self.http.request(method, path, **arguments)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if failures >= tries:
                    raise ServerError(
                        f"{self.server} cannot be reached ({error}). Check the address and the "
                        "network."
                    ) from error
                time.sleep(min(2.0**failures / 4, 20.0))
                continue
            if response.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            time.sleep(wait(response))
        return sound(response)

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

        ServerRefusal lists what there is: no such challenge, no such phase, or several open ones.
        """
        known = [row["slug"] for row in self._rows("challenges/")]
        if challenge not in known:
            listed = ", ".join(known) or "none"
            raise ServerRefusal(f"{self.server} has no challenge {challenge!r}. It has: {listed}.")
        phases = self.call("GET", f"challenges/{challenge}/").json()["phases"]
        chosen = [
            row["slug"] for row in phases if (row["slug"] == wanted if wanted else row["open"])
        ]
        if len(chosen) != 1:
            listed = ", ".join(f"{p['slug']} ({'open' if p['open'] else 'closed'})" for p in phases)
            raise ServerRefusal(f"{challenge} has these phases: {listed}. Name one with --phase.")
        return str(chosen[0])

    def upload(self, path: Path, *, about: dict[str, str], sent: Sent) -> str:
        """Send a file in parts; the id of the upload.  Called again it goes on where it stopped."""
        return uploading.upload(self, path, about=about, sent=sent)

    def submit(self, upload: str, *, method: str, description: str) -> dict[str, Any]:
        """Make a finished upload a submission.  Asked again for the same, it is the same one."""
        body = {"upload": upload, "method": method, "description": description}
        asked = json.dumps(body, sort_keys=True).encode()
        headers = {"Idempotency-Key": hashlib.sha256(asked).hexdigest()}
        answer = self.call("POST", "submissions/", json=body, headers=headers, tries=TRIES)
        return dict(answer.json())

    def submission(self, number: str) -> dict[str, Any]:
        """How a submission stands."""
        return dict(self.call("GET", f"submissions/{number}/").json())

    def news(self, number: str, etag: str) -> tuple[dict[str, Any] | None, str]:
        """How a submission stands, and the mark of that; None if it is as it was at the mark."""
        headers = {"If-None-Match": etag} if etag else {}
        answer = self.call("GET", f"submissions/{number}/", headers=headers)
        unchanged = answer.status_code == httpx.codes.NOT_MODIFIED
        return None if unchanged else dict(answer.json()), answer.headers.get("ETag", etag)

    def cancel(self, number: str) -> dict[str, Any]:
        """Stop a submission; how it stands then."""
        return dict(self.call("POST", f"submissions/{number}/cancel/").json())

    def result(self, number: str) -> bytes:
        """The result of a scored submission: the very bytes that `evaluator score` writes."""
        return self.call("GET", f"submissions/{number}/result/").content

    def quota(self, challenge: str, phase: str, *, team: str) -> dict[str, Any]:
        """What a team may still submit; one's own team if none is named."""
        query = {"team": team} if team else {}
        path = f"challenges/{challenge}/phases/{phase}/quota/"
        return dict(self.call("GET", path, params=query).json())

    def board(self, challenge: str, phase: str, *, label: str) -> dict[str, Any]:
        """The leaderboard, of one label or of all."""
        query = {"label": label} if label else {}
        path = f"challenges/{challenge}/phases/{phase}/board/"
        return dict(self.call("GET", path, params=query).json())

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
