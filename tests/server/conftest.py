"""A site with real parts: database file, queue server, workers, a challenge with truth on disk."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from redis import Redis
from redis.exceptions import RedisError

from server import queue
from server.accounts.models import Team, User
from server.accounts.teams import create_team
from server.challenges.bundle import read_bundle
from server.challenges.loading import load
from server.challenges.models import Challenge, Phase
from server.supervisor import queue_binary
from tests.server.making import make_bundle, person
from tests.synthetic import write_submission


@pytest.fixture(scope="session")
def queue_server(tmp_path_factory) -> Iterator[str]:
    """The address of a queue server of our own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("queue")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    log = (folder / "log").open("wb")
    process = subprocess.Popen([queue_binary(), *options], stdout=log, stderr=log)
    try:
        address = f"redis://127.0.0.1:{port}/0"
        wait_for(address)
        yield address
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def wait_for(address: str) -> None:
    deadline = time.monotonic() + 20
    with Redis.from_url(address) as server:
        while True:
            try:
                server.ping()
                return
            except RedisError:
                assert time.monotonic() < deadline, "the queue server did not start"
                time.sleep(0.05)


@pytest.fixture(autouse=True)
def clean_slate(settings):
    """Throttles count anew in each test; no bytes of an earlier test lie about.

    Passwords are hashed fast: a slow hash, which is what protects people, would take most of the
    time of all tests.
    """
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()
    for file in Path(settings.UPLOAD_DIR).glob("*"):
        file.unlink()


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """A worker takes over Ctrl-C and the stop signal of its process: here that of all tests."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def queue_up(queue_server, monkeypatch) -> Iterator[Redis]:
    """The queue server, empty."""
    monkeypatch.setenv("REDIS_URL", queue_server)
    server = queue.connection()
    server.flushall()
    yield server
    server.flushall()


@pytest.fixture
def work(queue_up) -> Callable[[], None]:
    """Do all jobs that wait, with a real worker that does not fork."""

    def run() -> None:
        queue.make_worker(fork=False).work(burst=True, logging_level="ERROR")

    return run


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory) -> Path:
    """A bundle: manifest, labels, truth, challenge.toml."""
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def packed(bundle_folder, tmp_path_factory) -> Path:
    """A submission that can be scored."""
    path = tmp_path_factory.mktemp("packed") / "good.zip"
    write_submission(path, bundle_folder, quality=0.9)
    return path


@pytest.fixture
def challenge(transactional_db, bundle_folder) -> Challenge:
    return load(read_bundle(bundle_folder), in_place=True)


@pytest.fixture
def phase(challenge) -> Phase:
    return challenge.phases.get(slug="test")


@pytest.fixture
def people(transactional_db) -> SimpleNamespace:
    """Two participants and an organiser."""
    staff = person("Organiser", is_staff=True, is_superuser=True)
    return SimpleNamespace(ada=person("Ada"), bob=person("Bob"), staff=staff)


@pytest.fixture
def ada(db) -> User:
    """A participant."""
    return person("Ada")


@pytest.fixture
def bob(db) -> User:
    """Another participant."""
    return person("Bob")


@pytest.fixture
def staff(db) -> User:
    """An organiser who may do everything."""
    return person("Organiser", is_staff=True, is_superuser=True)


@pytest.fixture
def lab(ada) -> Team:
    """A team that Ada began."""
    return create_team(ada, name="Lab")
