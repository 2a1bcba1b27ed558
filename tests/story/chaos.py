"""Many teams submit while programs are killed, the queue is emptied and the database is locked.

`storm` runs a whole installation through it and gives back what each submission came to, so that
a test can say what must hold.  All is decided by a seed, but for the moments at which it falls.
"""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import httpx
import psutil
import psycopg
from redis import Redis
from redis.exceptions import RedisError

from tests.installation import Installation, running
from tests.server.making import make_bundle

CONCURRENT = 2
PAUSE_S = 3.0  # between two strikes
PART = 4096
PATIENCE_S = 600.0
logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells every request
ENDED = ("scored", "rejected", "failed", "cancelled")
ACCOUNTS = """
import json, sys
from django.utils.timezone import now
from server.accounts.models import Token, User
for number in range({teams}):
    user = User.objects.create_user(f"team{{number}}@example.org", name=f"Team {{number}}")
    print(Token.issue(user, name="chaos", now=now())[1])
"""
LEDGER = """
import json
from collections import Counter
from django.conf import settings
from pathlib import Path
from server.accounts.models import AuditEvent
from server.submissions.models import Evaluation, Item, ItemScore, Submission, Upload
rows = Submission.objects.select_related("team").order_by("pk")
ends = AuditEvent.objects.filter(kind="submission", after__in=("scored", "rejected", "failed"))
print(json.dumps({
    "submissions": [
        {"id": s.pk, "team": s.team.name, "method": s.method, "status": s.status, "blame": s.blame,
         "message": s.message, "quota_used": s.quota_used,
         "evaluations": [[e.status, e.result_digest] for e in s.evaluations.all()]}
        for s in rows
    ],
    "ends": Counter(ends.values_list("key", flat=True)),
    "items": Counter(Item.objects.values_list("status", flat=True)),
    "reused": Item.objects.filter(reused=True).count(),
    "tries": Counter(map(str, Item.objects.values_list("attempts", flat=True))),
    "item_scores": ItemScore.objects.count(),
    "kept": [str(u.path) for u in Upload.objects.exclude(status="expired")],
    "files": [str(p) for p in Path(settings.UPLOAD_DIR).rglob("*") if p.is_file()],
}))
"""


@dataclass
class Tally:
    """What happened.  submissions: rows as LEDGER prints them.  refused: code → how often."""

    seconds: float = 0.0
    blows: Counter = field(default_factory=Counter)
    retries: int = 0
    refused: Counter = field(default_factory=Counter)
    expected: dict[str, str] = field(default_factory=dict)
    ledger: dict = field(default_factory=dict)
    scratch: list[str] = field(default_factory=list)

    def table(self, title: str) -> str:
        """The figures in lines for people."""
        rows = self.ledger["submissions"]
        ends = Counter(row["status"] for row in rows)
        causes = Counter(row["message"][:70] for row in rows if row["status"] == "failed")
        lines = [
            f"{title}: {len(rows)} submissions of {len({r['team'] for r in rows})} teams in "
            f"{self.seconds:.0f} s",
            f"  ended as        {_listed(ends)}",
            f"  blows           {_listed(self.blows)}",
            f"  tries again     {self.retries} requests of clients; items by attempts "
            f"{_listed(self.ledger['tries'])}",
            f"  items           {_listed(self.ledger['items'])}; "
            f"{self.ledger['reused']} of them reused, {self.ledger['item_scores']} computed",
            f"  refused         {_listed(self.refused)}",
            f"  files           {len(self.ledger['files'])} kept, "
            f"{len(set(self.ledger['files']) - set(self.ledger['kept']))} orphans",
        ]
        lines += [f"  failed          {count} x {cause}" for cause, count in causes.items()]
        return "\n".join(lines)


def _listed(counts: Counter | dict) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


@dataclass(frozen=True)
class Entry:
    """A file to submit.  digest: of the result it must get; empty if it must be rejected."""

    name: str
    data: bytes
    digest: str


class Team:
    """One team's client: it sends its entries and goes on whatever happens to the server."""

    def __init__(self, site: Installation, token: str, tally: Tally, rng: random.Random) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=f"{site.address}/api/", headers=headers, timeout=30)
        self.tally, self.rng = tally, rng

    def close(self) -> None:
        self.http.close()

    def call(self, method: str, path: str, **arguments: object) -> httpx.Response:
        """An answer that is the server's word: broken connections and 5xx are tried again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                response = self.http.request(method, path, **arguments)
                if response.status_code < 500 and response.status_code != 429:
                    return response
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"{method} {path}: no answer"
            self.tally.retries += 1
            time.sleep(0.2 + 0.3 * self.rng.random())

    def enter(self, entry: Entry) -> int | None:
        """Upload and submit; the submission's number.  None: the quota is used up."""
        while True:
            upload = self.begin(entry)
            if upload is None:
                return None
            if self.send(upload, entry.data):
                break
        answer = self.granted(
            "submissions/", {"upload": upload, "method": entry.name}, key=f"submit-{upload}"
        )
        return answer and answer["id"]

    def begin(self, entry: Entry) -> str | None:
        body = {
            "challenge": "chaos", "phase": "test", "filename": f"{entry.name}.zip",
            "size": len(entry.data), "sha256": sha256(entry.data).hexdigest(),
        }  # fmt: skip
        answer = self.granted("uploads/", body, key=f"upload-{uuid.uuid4().hex}")
        return answer and answer["id"]

    def granted(self, path: str, body: dict, *, key: str) -> dict | None:
        """The answer to a POST, once nothing else of the team is in its way."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            headers = {"Idempotency-Key": key}
            response = self.call("POST", path, json=body, headers=headers)
            if response.is_success:
                return response.json()
            code = response.json()["code"]
            self.tally.refused[code] += 1
            if code == "over_quota":
                return None
            busy = ("already_running", "upload_under_way", "under_way", "upload_verifying")
            assert code in busy, response.text
            assert time.monotonic() < deadline, response.text
            time.sleep(0.3)

    def send(self, upload: str, data: bytes) -> bool:
        """All parts, then the end; False if the upload has to be begun again."""
        url = f"uploads/{upload}/"
        offset = 0
        while offset < len(data):
            part = data[offset : offset + PART]
            headers = {
                "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream",
                "Tus-Resumable": "1.0.0",
            }  # fmt: skip
            answer = self.call("PATCH", url, content=part, headers=headers)
            if answer.status_code == 204:
                offset = int(answer.headers["Upload-Offset"])
                continue
            answer = self.call("HEAD", url, headers={"Tus-Resumable": "1.0.0"})
            assert answer.is_success, answer.status_code
            offset = int(answer.headers["Upload-Offset"])
        while (answer := self.call("POST", f"{url}finish/")).is_success:
            if answer.json()["status"] == "finished":
                return True
            time.sleep(0.1)
        return False

    def wait(self, number: int) -> None:
        """Until a submission has ended."""
        deadline = time.monotonic() + PATIENCE_S
        while self.call("GET", f"submissions/{number}/").json()["status"] not in ENDED:
            assert time.monotonic() < deadline, f"submission {number} has not ended"
            time.sleep(0.5)

    def play(self, entries: list[Entry]) -> None:
        """All entries, a few at a time, then more good ones until the quota says no.

        A good one comes last: when the quota is used up, nothing else could be begun.
        """
        entries = sorted(entries, key=lambda entry: self.rng.random())
        last = next(entry for entry in entries if entry.digest)
        entries.remove(last)
        entries.append(last)
        numbers = [self.enter(entry) for entry in entries]
        for number in numbers:
            if number is not None:
                self.wait(number)
        while (number := self.enter(last)) is not None:
            self.wait(number)


class Nemesis(threading.Thread):
    """Strikes every few seconds until it has struck so often, or is told to stop."""

    def __init__(
        self, site: Installation, database: str, tally: Tally, rng: random.Random, *, strikes: int
    ) -> None:
        super().__init__(daemon=True)
        self.site, self.database, self.tally, self.rng = site, database, tally, rng
        self.left = strikes
        self.over = threading.Event()
        self.blows: dict[str, Callable[[], None]] = {
            "worker killed": lambda: self.kill("worker"),
            "job killed": self.kill_job,
            "site killed": lambda: self.kill("gunicorn"),
            "queue killed": lambda: self.kill("valkey"),
            "queue emptied": self.empty_queue,
            "database locked": self.lock_database,
        }

    def run(self) -> None:
        names: list[str] = []
        while self.left and not self.over.wait(PAUSE_S * (0.5 + self.rng.random())):
            names = names or self.rng.sample(list(self.blows), len(self.blows))  # each in turn
            name = names.pop()
            try:
                self.blows[name]()
                self.tally.blows[name] += 1
                self.left -= 1
            except (psutil.Error, RedisError, psycopg.OperationalError, LookupError, OSError):
                continue  # there was nothing to strike at that moment

    def programs(self) -> list[psutil.Process]:
        return psutil.Process(self.site.process.pid).children()

    def kill(self, word: str) -> None:
        """One of the supervised programs, with SIGKILL."""
        found = [p for p in self.programs() if any(word in part for part in p.cmdline())]
        self.rng.choice(found).kill()

    def kill_job(self) -> None:
        """A process that a worker has begun: a job, or a stage of it."""
        workers = [p for p in self.programs() if "worker" in p.cmdline()]
        found = [child for worker in workers for child in worker.children(recursive=True)]
        self.rng.choice(found).kill()

    def empty_queue(self) -> None:
        url = (self.site.home / "run" / "queue.url").read_text()
        with Redis.from_url(url, socket_connect_timeout=1, socket_timeout=5) as server:
            server.flushall()

    def lock_database(self) -> None:
        """Nobody else can write for a few seconds."""
        seconds = 1 + 2 * self.rng.random()
        if self.database.startswith("postgres"):
            with psycopg.connect(self.database) as held:
                held.execute("LOCK TABLE submissions_item, submissions_submission")
                time.sleep(seconds)
            return
        held = sqlite3.connect(self.site.home / "db.sqlite3", timeout=20, isolation_level=None)
        try:
            held.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            held.execute("ROLLBACK")
        finally:
            held.close()


@contextmanager
def chaotic_site(home: Path, database: str) -> Iterator[Installation]:
    """An installation with three workers that looks every two seconds for what was lost."""
    home.mkdir(parents=True, exist_ok=True)
    environment = {"DATABASE_URL": database} if database else {}
    with running(home, "--workers", "3", "--reconcile-every", "2", **environment) as site:
        yield site


def storm(
    home: Path, *, database: str, teams: int, entries: list[Entry], bundle: Path, seed: int,
    strikes: int, per_team: int,
) -> Tally:  # fmt: skip
    """Let teams submit the entries while a nemesis strikes; what came of it."""
    tally = Tally(expected={entry.name: entry.digest for entry in entries})
    with chaotic_site(home, database) as site:
        site.manage("load_challenge", str(bundle))
        tokens = site.manage("shell", "-v", "0", "-c", ACCOUNTS.format(teams=teams)).split()
        began = time.monotonic()
        nemesis = Nemesis(site, database, tally, random.Random(seed), strikes=strikes)
        nemesis.start()
        players = _play(site, tokens, entries, tally, seed, per_team)
        nemesis.over.set()
        nemesis.join()
        tally.seconds = time.monotonic() - began
        assert not players, f"{len(players)} clients broke: {players[0]}"
        time.sleep(6)  # what a process has just left behind is given a few seconds
        site.manage("reconcile")
        tally.ledger = json.loads(site.manage("shell", "-v", "0", "-c", LEDGER))
        tally.scratch = [str(p) for p in (home / "scratch").rglob("*") if p.is_file()]
    return tally


def drawn(entries: list[Entry], rng: random.Random, good: int) -> list[Entry]:
    """So many of the good entries, and all of the bad."""
    bad = [entry for entry in entries if not entry.digest]
    return rng.sample([entry for entry in entries if entry.digest], good) + bad


def _play(
    site: Installation, tokens: list[str], entries: list[Entry], tally: Tally, seed: int,
    per_team: int,
) -> list[BaseException]:  # fmt: skip
    """Every team at once, each with entries of its own draw; what broke a client."""
    broken: list[BaseException] = []

    def play(number: int, token: str) -> None:
        rng = random.Random(f"{seed}-{number}")
        try:
            with closing(Team(site, token, tally, rng)) as team:
                team.play(drawn(entries, rng, per_team))
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=play, args=each) for each in enumerate(tokens)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return broken


def chaos_bundle(folder: Path, *, per_day: int) -> Path:
    """The challenge everybody submits to: two small crops, three labels."""
    bundle = make_bundle(folder, slug="chaos")
    toml = bundle / "challenge.toml"
    limits = f"per_day = {per_day}\nconcurrent = {CONCURRENT}\nattempts_per_day = 0"
    toml.write_text(toml.read_text("utf-8").replace("per_day = 3", limits), "utf-8")
    return bundle
