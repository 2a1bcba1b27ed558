"""Large files against the real server: standard clients, and both sides killed on the way."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import psutil
import pytest
from tusclient.client import TusClient

from tests.installation import answers, wait_for
from tests.server.making import make_bundle

MIB = 2**20
CLIENT = """
import sys
from pathlib import Path
from evaluator.client import Client, Credentials
known = Credentials.load()
with Client(known.server, known.token) as client:
    about = {"challenge": sys.argv[2], "phase": "test"}
    said = lambda offset: print(offset, flush=True)
    print(client.upload(Path(sys.argv[1]), about=about, sent=said), flush=True)
"""


@pytest.fixture(scope="module")
def slug(installation, tmp_path_factory):
    bundle = make_bundle(tmp_path_factory.mktemp("large"), slug="large")
    toml = bundle / "challenge.toml"
    toml.write_text(toml.read_text("utf-8").replace("50_000_000", "900_000_000"), "utf-8")
    installation.manage("load_challenge", str(bundle))
    return "large"


def random_file(path, mib: int):
    path.write_bytes(os.urandom(mib * MIB + 17))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def gunicorns(site) -> list[psutil.Process]:
    children = psutil.Process(site.process.pid).children(recursive=True)
    return [child for child in children if "gunicorn" in " ".join(child.cmdline())]


def kill_server(site) -> None:
    for process in gunicorns(site):
        process.send_signal(signal.SIGKILL)


def up_again(site) -> None:
    wait_for(lambda: answers(f"{site.address}/healthz"), seconds=90, log=site.home / "up.log")


def verified(site, account, key: str) -> dict:
    """The upload once its digest is known."""
    deadline = time.monotonic() + 60
    while (row := site.get(f"uploads/{key}/", account).json())["status"] == "verifying":
        assert time.monotonic() < deadline, row
        time.sleep(0.1)
    return row


def newest(site, account) -> str:
    return site.get("uploads/", account).json()["results"][0]["id"]


def test_tuspy_works_unchanged(installation, slug, tmp_path):
    path, digest = random_file(tmp_path / "x.zip", 8)
    account = installation.join("Mallory")
    bearer = {"Authorization": f"Bearer {account['CRISTA_TOKEN']}"}
    client = TusClient(f"{installation.address}/api/uploads/", headers=bearer)
    about = {"challenge": slug, "phase": "test", "filename": "x.zip", "sha256": digest}
    how = {"chunk_size": 3 * MIB, "upload_checksum": True, "retries": 3}
    with path.open("rb") as file:
        sender = client.uploader(file_stream=file, metadata=about, **how)
        sender.upload_chunk()
    with path.open("rb") as file:
        again = client.uploader(file_stream=file, url=sender.url, **how)
        assert again.offset == 3 * MIB
        again.upload()
    row = verified(installation, account, newest(installation, account))
    assert (row["status"], row["sha256"], row["verified"]) == ("finished", digest, row["size"])


def test_both_sides_killed_in_turn_and_every_byte_is_right(installation, slug, tmp_path):
    path, digest = random_file(tmp_path / "large.zip", 120)
    account = installation.join("Nina")
    environment = {**os.environ, **account, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    blows = ["server", "client"]
    key = ""
    while not key:
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(path), slug],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in client.stdout:
            if not line.strip().isdecimal():
                key = line.strip()
            elif blows and int(line) > (3 - len(blows)) * 40 * MIB:
                if blows.pop(0) == "server":
                    kill_server(installation)
                else:
                    client.kill()
        client.wait()
        client.stdout.close()
    assert blows == []
    row = verified(installation, account, key)
    assert (row["status"], row["sha256"]) == ("finished", digest)
    kept = installation.home / "uploads" / f"{key}.zip"
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == digest


def test_the_server_needs_no_memory_for_a_large_part(installation, slug, tmp_path):
    """One request of 300 MiB, as clients without parts send it."""
    up_again(installation)
    account = installation.join("Otto")
    bearer = {"Authorization": f"Bearer {account['CRISTA_TOKEN']}"}
    size = 300 * MIB
    wish = {"challenge": slug, "phase": "test", "filename": "x.zip", "size": size}
    with httpx.Client(base_url=installation.address, headers=bearer, timeout=120) as http:
        for _ in range(10):
            http.get("/api/me/")
        url = http.post("/api/uploads/", json=wish).headers["Location"]
        before, most = weight(installation), []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                most.append(weight(installation))

        watcher = threading.Thread(target=watch)
        watcher.start()
        headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream",
                   "Content-Length": str(size)}  # fmt: skip
        sent = http.patch(url, content=(bytes(MIB) for _ in range(300)), headers=headers)
        over.set()
        watcher.join()
        assert sent.headers["Upload-Offset"] == str(size)
        http.delete(url)
    assert max(most) - before < 30 * MIB


def weight(site) -> int:
    """Bytes of its own that the server has in memory."""
    infos = [process.memory_info() for process in gunicorns(site)]
    return sum(info.rss - info.shared for info in infos)
