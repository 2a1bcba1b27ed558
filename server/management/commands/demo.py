"""`manage.py demo`: the whole job once, as an organiser and three participants would do it.

Data are made (or imported), a challenge is loaded, three baselines train, predict and pack, the
participants' own command uploads each result through the API, workers score it, the board shows it.
What an earlier run has finished is not repeated.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.utils.timezone import now

from server.accounts.models import Token, User
from server.management.commands import up
from server.submissions.models import Submission
from server.supervisor import Program, Supervisor

BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the demo's board.  config: a file of baselines/configs; none learns nothing."""

    method: str
    team: str
    description: str
    config: str | None = None

    @property
    def email(self) -> str:
        """Whom the entry belongs to."""
        return f"{self.team.lower()}@example.org"


ENTRIES = (
    Entry("Threshold", "Reference", "Grey values above or below a threshold. Nothing is learned."),
    Entry("U-Net 2D", "Planes", "A 2D U-Net, plane by plane.", "unet2d"),
    Entry("U-Net 3D", "Volumes", "A small 3D U-Net on blocks.", "unet3d"),
)


class Command(up.Command):
    help = "Run the whole job on a made-up challenge, show the board, and keep the site up."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--data", type=Path, help="folder with your stacks and a stack.toml")
        parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                            help="a training setting, such as training.seconds=300")  # fmt: skip
        parser.add_argument("--once", action="store_true", help="stop after showing the board")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["data"] and not (options["data"] / "stack.toml").is_file():
            raise CommandError(
                f"{options['data']} has no stack.toml. It says which files are raw and which are "
                "labels; docs/baselines.md shows one."
            )
        super().handle(*args, **options)

    def work(self, supervisor: Supervisor, address: str, **options: Any) -> None:
        """The job, the board, and the site until Ctrl-C."""
        began = time.monotonic()
        demo = Demo(supervisor, address, data=options["data"], overrides=options["set"])
        challenge = demo.run(self.say)
        self.say(f"\nThe whole job took {time.monotonic() - began:.0f} s.\n")
        self.say(demo.board(challenge))
        self.say(f"The board is at {address}/challenges/{challenge}/ (Ctrl-C stops everything)")
        self.say(demo.how_to_look_around())
        if not options["once"]:
            up.keep_up(supervisor)


class Demo:
    """The steps of the job; each leaves a mark when it is done and is not repeated.

    Everything it makes lies in `demo/` of the state folder: data, runs, predictions, packed zips.
    """

    def __init__(
        self, supervisor: Supervisor, address: str, *, data: Path | None, overrides: list[str]
    ) -> None:
        self.supervisor, self.address, self.overrides = supervisor, address, overrides
        self.source = data.resolve() if data else None
        name = f"{data.resolve().name}-{_short(str(data.resolve()))}" if data else "phantom"
        self.home = Path(settings.STATE_DIR) / "demo" / name
        self.home.mkdir(parents=True, exist_ok=True)
        self.password = _password(self.home.parent / "password")
        self._account("organiser@example.org", name="Organiser", staff=True)

    def run(self, say: Any) -> str:
        """Do all steps; the slug of the challenge."""
        data = self.home / "data"
        made = self.step(say, "data", self._data_command(data), makes=data)
        call_command("load_challenge", str(data / "challenge"), verbosity=0)
        challenge = _slug(data / "challenge")
        for entry in ENTRIES:
            packed = self.entry(say, entry, data, after=made)
            self.submit(say, entry, challenge, packed)
        return challenge

    def entry(self, say: Any, entry: Entry, data: Path, *, after: str) -> Path:
        """Train (where there is something to train), predict and pack; the packed zip."""
        name = entry.config or "threshold"
        pred, run, packed = (self.home / f"{name}{end}" for end in ("-pred", "-run", ".zip"))
        baselines = str(BIN / "baselines")
        if entry.config:
            config = settings.BASE_DIR / "baselines" / "configs" / f"{entry.config}.toml"
            train = [baselines, "train", str(config), "--data", str(data), "--out", str(run)]
            train += [part for override in self.overrides for part in ("--set", override)]
            after = self.step(say, f"train {name}", train, makes=run, after=after)
            predict = [baselines, "predict", str(run), "--data", str(data), "--out", str(pred)]
        else:
            predict = [baselines, "threshold", "--data", str(data), "--out", str(pred)]
        after = self.step(say, f"predict {name}", predict, makes=pred, after=after)
        manifest = str(data / "challenge" / "manifest.csv")
        pack = [baselines, "pack", str(pred), "--manifest", manifest, "--out", str(packed)]
        self.step(say, f"pack {name}", pack, makes=packed, after=after)
        return packed

    def submit(self, say: Any, entry: Entry, challenge: str, packed: Path) -> None:
        """Send a packed zip as its team would, unless the same file has been scored."""
        with packed.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        earlier = Submission.objects.filter(
            team__person__email=entry.email, phase__challenge__slug=challenge,
            upload__sha256=digest, status=Submission.Status.SCORED,
        )  # fmt: skip
        if earlier.exists():
            return
        command = [
            *(str(BIN / "evaluator"), "submit", str(packed), "--challenge", challenge),
            *("--method", entry.method, "--description", entry.description, "--watch"),
        ]
        self._run(say, f"submit {entry.method}", command, self._as(entry))

    def board(self, challenge: str) -> str:
        """The leaderboard as the participants' command prints it."""
        command = [str(BIN / "evaluator"), "board", challenge]
        environment = {**os.environ, **self._as(ENTRIES[0])}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def how_to_look_around(self) -> str:
        """Accounts a newcomer can log in with."""
        emails = ", ".join(entry.email for entry in ENTRIES)
        return f"Log in as organiser@example.org, {emails}; the password is {self.password}"

    def step(self, say: Any, name: str, command: list[str], *, makes: Path, after: str = "") -> str:
        """Run a command once.  It is repeated when it changed, or what it builds on did.

        Returns the digest of the command and of all before it.
        """
        digest = _short(json.dumps([command, after]))
        mark = self.home / f"{name.replace(' ', '-')}.done"
        if not (mark.is_file() and mark.read_text() == digest and makes.exists()):
            mark.unlink(missing_ok=True)
            if makes.is_dir():
                shutil.rmtree(makes)
            self._run(say, name, command, {})
            mark.write_text(digest)
        return digest

    def _data_command(self, data: Path) -> list[str]:
        baselines = str(BIN / "baselines")
        if self.source:
            stack = str(self.source / "stack.toml")
            return [baselines, "import-stack", "--from", stack, "--out", str(data)]
        return [baselines, "phantom", str(data)]

    def _run(self, say: Any, name: str, command: list[str], environment: dict[str, str]) -> None:
        """One command beside the supervised programs.  CommandError: it failed; its last lines."""
        began = time.monotonic()
        say(f"{name} …")
        process = self.supervisor.launch(Program("demo", tuple(command), environment))
        try:
            while process.poll() is None:
                self.supervisor.watch()
                time.sleep(0.2)
        finally:
            process.terminate()
        if process.returncode:
            lines = (self.supervisor.logs / "demo.log").read_text("utf-8", "replace").splitlines()
            raise CommandError(f"{name} failed: {' '.join(command)}\n" + "\n".join(lines[-15:]))
        say(f"{name}: {time.monotonic() - began:.0f} s")

    def _as(self, entry: Entry) -> dict[str, str]:
        """What makes the participants' commands act for an entry's account."""
        user = self._account(entry.email, name=entry.team)
        user.tokens.filter(name="demo").delete()
        _, token = Token.issue(user, name="demo", now=now(), days=1)
        if entry.config is None:
            user.teams.filter(person=user).update(baseline=True)
        return {"CRISTA_SERVER": self.address, "CRISTA_TOKEN": token}

    def _account(self, email: str, *, name: str, staff: bool = False) -> User:
        user = User.objects.filter(email=email).first()
        if user is None:
            user = User.objects.create_user(
                email, self.password, name=name, is_staff=staff, is_superuser=staff
            )
        return user


def _slug(bundle: Path) -> str:
    return str(tomllib.loads((bundle / "challenge.toml").read_text("utf-8"))["slug"])


def _password(path: Path) -> str:
    """The demo accounts' password: made once, readable by this user alone."""
    if not path.is_file():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(9))
    return path.read_text("utf-8")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
