"""A large upload through the real server, with both sides killed, beside copying and hashing it.

    python -m benchmarks.upload [--gib 4] [--kills 3] [--json FILE]

Starts an installation (`manage.py up`), makes a file of random bytes, sends it with the
participant's client and waits until the server has verified its digest: once undisturbed, and once
while client and server processes are killed with SIGKILL in turn, each as often as asked.  Before,
between and after, `cp` and `sha256sum` of the same file are timed.  Prints seconds, the ratio to
the mean of those, and how much the memory of the server's processes grew.  Ends with 1 if a digest
is wrong.

The undisturbed time is also told in parts: the client's own digest, the sending, the server's
digest.  What a kill costs besides is the server's time to start again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from evaluator.digest import file_digest
from tests.installation import Installation, answers, running
from tests.synthetic import write_challenge

MIB = 2**20
CHALLENGE = """\
slug = "bench"
title = "Bytes"
summary = "Bytes alone."
protocol = "crista-1"

[[phase]]
slug = "test"
title = "Test phase"
opens = 2026-01-01T00:00:00Z
closes = 2099-01-01T00:00:00Z
max_bytes = {most}
"""
CLIENT = """
import sys, time
from pathlib import Path
from evaluator import uploading
from evaluator.client import Client
server, token, path, challenge = sys.argv[1:]
began = time.monotonic()
uploading.remembered_digest(Path(path))
print("digest", time.monotonic() - began, flush=True)
with Client(server, token) as client:
    about = {"challenge": challenge, "phase": "test"}
    said = lambda offset: print("sent", offset, flush=True)
    print("upload", client.upload(Path(path), about=about, sent=said), flush=True)
"""


@dataclass
class Sending:
    """How one upload went.  Seconds from the client's start until the server's digest was known.

    digest, sending, verifying: the parts of an undisturbed one.  down: seconds in which no server
    answered.  grown: bytes by which the memory of the server's processes grew at most.
    """

    seconds: float = 0.0
    digest: float = 0.0
    sending: float = 0.0
    verifying: float = 0.0
    down: float = 0.0
    grown: int = 0
    client_kills: int = 0
    server_kills: int = 0
    sha256: str = ""


def make_file(path: Path, size: int) -> str:
    """Write random bytes; their SHA-256 in hex."""
    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, size, 64 * MIB):
            file.write(rng.bytes(min(64 * MIB, size - start)))
    return file_digest(path)


def timed(*command: str | Path) -> float:
    """Seconds that a command takes."""
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def copy_and_hash(home: Path) -> tuple[float, float]:
    """Seconds of `cp` and of `sha256sum`."""
    copying = timed("cp", home / "large.zip", home / "copy.zip")
    hashing = timed("sha256sum", home / "copy.zip")
    (home / "copy.zip").unlink()
    return copying, hashing


def server_processes(site: Installation) -> list[psutil.Process]:
    """The processes that answer requests."""
    children = psutil.Process(site.process.pid).children(recursive=True)
    return [child for child in children if "gunicorn" in " ".join(_cmdline(child))]


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def memory(site: Installation) -> int:
    """Bytes of their own that the server's processes have in memory, all together."""
    total = 0
    for process in server_processes(site):
        try:
            info = process.memory_info()
        except psutil.Error:
            continue
        total += (
            info.rss - info.shared
        )  # shared: libraries and mapped files, the database above all
    return total


@contextmanager
def watched_memory(site: Installation) -> Iterator[list[int]]:
    """A list that grows by a figure five times a second."""
    over, seen = threading.Event(), [memory(site)]

    def look() -> None:
        while not over.wait(0.2):
            seen.append(memory(site))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def kill_server(site: Installation) -> float:
    """Kill all that answers requests; seconds until something answers again."""
    began, victims = time.monotonic(), server_processes(site)
    for process in victims:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
    psutil.wait_procs(victims, timeout=10)  # from here on whoever answers has started again
    while not answers(f"{site.address}/healthz"):
        time.sleep(0.05)
    return time.monotonic() - began


def send(
    site: Installation, account: dict[str, str], path: Path, *, kills: int, challenge: str
) -> Sending:
    """Send a file and wait for its digest, killing client and server in turn on the way."""
    size, done = path.stat().st_size, Sending()
    blows = [(n + 1) / (2 * kills + 1) for n in range(2 * kills)]
    threads: list[threading.Thread] = []
    began = time.monotonic()
    with watched_memory(site) as seen:
        while not (key := _client(site, account, path, challenge, blows, threads, done, size)):
            done.client_kills += 1
        sent = time.monotonic()
        while (row := site.get(f"uploads/{key}/", account).json())["status"] == "verifying":
            time.sleep(0.05)
    ended = time.monotonic()
    done.seconds, done.verifying, done.sha256 = ended - began, ended - sent, row["sha256"]
    done.sending = sent - began - done.digest
    done.grown = max(seen) - seen[0]
    for thread in threads:
        thread.join()
    assert row["status"] == "finished", row
    return done


def _client(
    site: Installation, account: dict[str, str], path: Path, challenge: str, blows: list[float],
    threads: list[threading.Thread], done: Sending, size: int,
) -> str:  # fmt: skip
    """One client's life; the upload's id, or "" if it was killed."""
    arguments = (site.address, account["CRISTA_TOKEN"], str(path), challenge)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, *arguments], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(path.parent / "cache")},
    )  # fmt: skip
    assert client.stdout is not None
    for line in client.stdout:
        word, value = line.split()
        if word == "digest":
            done.digest += float(value)
        if word == "upload":
            client.wait()
            return value
        if word == "sent" and blows and int(value) > blows[0] * size:
            blows.pop(0)
            if len(blows) % 2:  # the client first, then the server, and so on
                client.kill()
                client.wait()
                return ""
            done.server_kills += 1
            threads.append(threading.Thread(target=lambda: _down(site, done)))
            threads[-1].start()
    raise RuntimeError(f"the client ended with {client.wait()}")


def _down(site: Installation, done: Sending) -> None:
    done.down += kill_server(site)


def line(name: str, sending: Sending, *, size: int, reference: float) -> str:
    """The figures of one upload."""
    rate = size / sending.seconds / 1e6
    alive = size / (sending.seconds - sending.down) / 1e6
    return (
        f"{name:<34} {sending.seconds:7.1f} s  {rate:6.0f} MB/s  "
        f"{reference / sending.seconds:5.2f} of cp + sha256sum; without the {sending.down:.1f} s "
        f"without a server {alive:.0f} MB/s, {reference / (sending.seconds - sending.down):.2f}; "
        f"memory of the server +{sending.grown / 1e6:.0f} MB"
    )


def bundle_for(folder: Path, size: int) -> Path:
    """A challenge whose phase takes files of that size."""
    write_challenge(folder, crops=1, size=16)
    (folder / "challenge.toml").write_text(CHALLENGE.format(most=2 * size), "utf-8")
    (folder / "overview.md").write_text("# Bytes\n", "utf-8")
    return folder


def main() -> int:
    """Print the figures; 1 if a digest is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=4.0, help="size of the file (4)")
    parser.add_argument("--kills", type=int, default=3, help="of the client, and of the server (3)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args()
    size = int(options.gib * 2**30)
    with tempfile.TemporaryDirectory(prefix="upload-") as folder:
        home = Path(folder)
        digest = make_file(home / "large.zip", size)
        copied = [copy_and_hash(home)]
        found = []
        for row in uploads(home, size, kills=options.kills):
            found.append(row)
            copied.append(copy_and_hash(home))
    copying, hashing = (sum(column) / len(copied) for column in zip(*copied, strict=True))
    reference = copying + hashing
    print(
        f"{options.gib:g} GiB; cp {copying:.1f} s + sha256sum {hashing:.1f} s = {reference:.1f} s"
    )
    for name, sending in found:
        print(line(name, sending, size=size, reference=reference))
    quiet = found[0][1]
    print(f"undisturbed: client's digest {quiet.digest:.1f} s, sending {quiet.sending:.1f} s, "
          f"server's digest {quiet.verifying:.1f} s")  # fmt: skip
    right = all(sending.sha256 == digest for _, sending in found)
    print(f"digests are {'right' if right else 'WRONG'}: {digest}")
    if options.json:
        rows = {name: vars(sending) for name, sending in found}
        options.json.write_text(json.dumps({"cp": copying, "sha256sum": hashing, **rows}, indent=1))
    return 0 if right else 1


def uploads(home: Path, size: int, *, kills: int) -> Iterator[tuple[str, Sending]]:
    """Each upload with its name, to an installation of its own."""
    (home / "site").mkdir()
    with running(home / "site") as site:
        site.manage("load_challenge", str(bundle_for(home / "bundle", size)))
        for name, blows in (("undisturbed", 0), (f"{kills} kills of each side", kills)):
            account = site.join(f"Sender{blows}")
            for _ in range(20):  # every process of the server has answered before it is weighed
                site.get("me/", account)
            yield name, send(site, account, home / "large.zip", kills=blows, challenge="bench")
            (home / "cache" / "crista" / "digests.json").unlink()


if __name__ == "__main__":
    sys.exit(main())
