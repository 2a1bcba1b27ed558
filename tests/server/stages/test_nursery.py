"""What the process of a stage has, what it may, and how it ends; all with real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from server import scoring, stages
from server.stages import Limits, asking
from server.stages.nursery import LONGEST_TRACE
from tests.server.stages.targets import (
    TARGET,
    children,
    is_confined,
    is_gone,
    made,
    nursery,
    open_files,
    sent,
    slow,
    until,
)

GIB = 1 << 30
ROOMY = Limits(4 * GIB, 60.0, 60.0)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers run on Linux alone")


@pytest.fixture
def anew():
    """The next stage starts a nursery of its own."""
    stages.stop()
    yield
    stages.stop()


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Rules and a submission whose reading takes about a second."""
    return slow(tmp_path_factory.mktemp("slow"))


def caught(parent: int) -> int:
    """A child of the nursery, stopped while it works."""
    child = until(lambda: next((pid for pid in children(parent) if is_confined(pid)), None))
    os.kill(child, signal.SIGSTOP)
    return child


def memory(process: int) -> bytes:
    """All that a process has written into its memory."""
    content = []
    with open(f"/proc/{process}/mem", "rb", buffering=0) as file:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            start, stop = (int(end, 16) for end in span.split("-"))
            if rights.startswith("rw") and stop - start < GIB:
                file.seek(start)
                content.append(file.read(stop - start) or b"")
    return b"".join(content)


def test_a_reading_has_no_environment_no_descriptor_and_no_memory_of_ours(
    anew, long, tmp_path, monkeypatch, queue_up
):
    rules, submission = long
    for name in ("DATABASE_URL", "REDIS_URL", "CRISTA_SECRET_KEY", "CRISTA_HOME"):
        monkeypatch.setenv(name, f"secret-{name}-of-the-worker")
    with (tmp_path / "held").open("w") as held, ThreadPoolExecutor(1) as pool:
        os.set_inheritable(held.fileno(), True)
        reading = pool.submit(stages.ingest, TARGET, submission, rules, into=tmp_path)
        child = caught(nursery())
        try:
            environment = Path(f"/proc/{child}/environ").read_bytes()
            arguments = Path(f"/proc/{child}/cmdline").read_bytes()
            files = set(open_files(child))
            written = memory(child)
        finally:
            os.kill(child, signal.SIGCONT)
        reading.result()
    names = {line.partition(b"=")[0].decode() for line in environment.split(b"\0") if line}
    assert names == set(asking.ENVIRONMENT)
    assert b"secret-" not in arguments + written
    assert str(rules.truth).encode() not in arguments + written
    assert str(submission).encode() in written  # so a truth's place would have been found
    theirs = {name for name in files if not name.startswith(("pipe:", "anon_inode:", "/dev/null"))}
    assert {name for name in theirs if not name.startswith(str(tmp_path))} <= {
        name for name in theirs if name.startswith(str(submission))
    }
    assert not any(name.startswith("socket:") or name.endswith("held") for name in files)


def test_scoring_gets_blocks_as_descriptors_and_no_word_of_the_submission(long, tmp_path):
    rules, submission = long
    read = stages.ingest(TARGET, submission, rules, into=tmp_path)
    with ThreadPoolExecutor(1) as pool:
        scored = pool.submit(stages.score, TARGET, read, rules)
        child = caught(nursery())
        try:
            files, written = set(open_files(child)), memory(child)
        finally:
            os.kill(child, signal.SIGCONT)
        scored.result()
    assert str(read.folder / "0.raw") in files
    assert str(submission).encode() not in written


def test_what_all_stages_are_forked_from_knows_no_server_and_has_one_thread():
    """A thread that a library starts would stay outside of what a child is confined to."""
    code = (
        f"import os, sys; sys.path.insert(0, {str(asking.ROOT)!r}); import server.stages.nursery\n"
        "print(len(os.listdir('/proc/self/task')), *sorted(sys.modules))"
    )
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=asking.ENVIRONMENT
    )
    threads, *modules = done.stdout.split()
    assert threads == "1"
    assert not {"django", "redis", "rq", "server.queue", "server.settings"} & set(modules)
    assert "evaluator.runner" in modules


def test_who_stops_a_group_of_processes_stops_the_worker_and_not_its_stages(long, tmp_path):
    """A service is stopped by a signal to all its processes; the worker then decides."""
    rules, submission = long
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(stages.ingest, TARGET, submission, rules, into=tmp_path)
        parent = nursery()
        child = until(lambda: next(filter(is_confined, children(parent)), None))
        for process in (parent, child):
            os.kill(process, signal.SIGTERM)
            os.kill(process, signal.SIGINT)
        assert reading.result().size > 0
    assert nursery() == parent


def test_a_folder_for_sockets_may_be_too_deep(anew, monkeypatch, tmp_path):
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(asking.tempfile, "tempdir", str(deep))
    (tmp_path / "x.zip").write_bytes(b"no")
    rules = made(tmp_path, np.ones((4, 4, 4), "u1"))
    assert stages.check(tmp_path / "x.zip", rules, called="x.zip")[0] is False


def test_folders_of_killed_nurseries_go_and_those_of_living_ones_stay(
    anew, monkeypatch, tmp_path_factory
):
    place = tmp_path_factory.mktemp("t")
    monkeypatch.setattr(asking.tempfile, "tempdir", str(place))
    living = place / f"{asking.FOLDER}living"
    for folder in (place / f"{asking.FOLDER}dead", place / f"{asking.FOLDER}young", living):
        folder.mkdir()
    with asking.socket.socket(asking.socket.AF_UNIX) as listener:
        listener.bind(str(living / "ask"))
        listener.listen()
        for name in ("dead", "living"):
            os.utime(place / f"{asking.FOLDER}{name}", (0, 0))
        nursery()
    left = {path.name.removeprefix(asking.FOLDER) for path in place.iterdir()}
    assert {"young", "living"} < left
    assert len(left) == 3  # and the one of the nursery itself
    assert "dead" not in left


@pytest.mark.parametrize("mib", [1, 320])
def test_too_little_memory_is_told_as_such_and_harms_nobody_else(long, tmp_path, mib):
    rules, submission = long
    little = Limits(mib << 20, 60.0, 60.0)
    with pytest.raises(stages.StageDied) as died:
        stages.ingest(TARGET, submission, rules, into=tmp_path, limits=little)
    assert (died.value.stage, died.value.reason) == ("ingest", "memory")
    assert list(tmp_path.iterdir()) == []


def test_a_flood_of_objects_meets_the_limit_of_memory(tmp_path):
    shape = (96, 96, 96)
    rules = made(tmp_path, np.ones(shape, "u1"))
    flood = np.arange(1, 96**3 + 1, dtype="u4").reshape(shape)
    read = stages.ingest(TARGET, sent(tmp_path, flood), rules, into=tmp_path)
    with pytest.raises(stages.StageDied) as died:
        stages.score(TARGET, read, rules, limits=Limits(440 << 20, 60.0, 60.0))
    assert (died.value.stage, died.value.reason) == ("score", "memory")


def test_a_target_that_never_ends_is_stopped_by_the_clock(long, tmp_path):
    rules, submission = long
    before = time.monotonic()
    with pytest.raises(stages.StageDied) as died:
        stages.ingest(TARGET, submission, rules, into=tmp_path, limits=Limits(4 * GIB, 60.0, 0.1))
    assert died.value.reason == "time"
    assert time.monotonic() - before < 5
    assert until(lambda: children(nursery()) == [])
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_works_without_end_is_stopped_by_its_processor_time(tmp_path):
    shape = (128, 128, 128)
    rules = made(tmp_path, np.arange(128**3, dtype="u4").reshape(shape))
    flood = np.arange(1, 128**3 + 1, dtype="u4").reshape(shape)
    read = stages.ingest(TARGET, sent(tmp_path, flood), rules, into=tmp_path)
    with pytest.raises(stages.StageDied) as died:
        stages.score(TARGET, read, rules, limits=Limits(8 * GIB, 1.0, 60.0))
    assert died.value.reason == "cpu"


def test_a_process_that_somebody_kills_is_told_by_its_signal(long, tmp_path):
    rules, submission = long
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(stages.ingest, TARGET, submission, rules, into=tmp_path)
        os.kill(caught(nursery()), signal.SIGKILL)
        with pytest.raises(stages.StageDied, match="signal 9"):
            reading.result()


def test_what_breaks_is_told_with_a_trace_for_operators(tmp_path):
    with pytest.raises(stages.StageDied) as died:
        asking.ask("check", {"submission": 5}, ROOMY)
    assert died.value.reason == "exit 1"
    assert "TypeError" in died.value.trace
    assert "Traceback" not in str(died.value)
    assert len(died.value.trace) <= LONGEST_TRACE


def test_when_the_nursery_ends_its_children_do_and_the_next_question_starts_another(
    anew, long, tmp_path
):
    rules, submission = long
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(stages.ingest, TARGET, submission, rules, into=tmp_path)
        first = nursery()
        child = until(lambda: next(filter(is_confined, children(first)), None))
        os.kill(first, signal.SIGKILL)
        with pytest.raises(stages.StageDied, match="lost"):
            reading.result()
    assert until(lambda: is_gone(child))
    (tmp_path / "x.zip").write_bytes(b"no")
    assert stages.check(tmp_path / "x.zip", rules, called="x.zip")[0] is False
    assert nursery() != first


ASKER = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from server import stages
from tests.server.stages.targets import TARGET, nursery, slow
base = Path({base!r})
rules, submission = slow(base)
print(nursery(), flush=True)
if {fork}:
    child = os.fork()
    if child:
        print(child, flush=True)
        os.waitpid(child, 0)
        print("buried", flush=True)
        sys.stdin.read()
        sys.exit()
for number in range(100):
    stages.ingest(TARGET, submission, rules, into=base)
"""


@pytest.fixture
def asker(tmp_path):
    """Start a process that asks for one stage after another; in a fork of it, if so wished."""
    started = []

    def start(*, fork: bool) -> subprocess.Popen:
        code = ASKER.format(root=str(asking.ROOT), base=str(tmp_path), fork=fork)
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_when_a_worker_is_killed_its_nursery_and_its_stages_end(asker):
    process = asker(fork=False)
    parent = int(process.stdout.readline())
    child = until(lambda: next(filter(is_confined, children(parent)), None))
    process.kill()
    assert until(lambda: is_gone(child) and is_gone(parent))
    assert until(lambda: not list(Path("/proc").glob(f"{parent}/cwd")))


def test_when_a_fork_that_asks_is_killed_its_stage_ends_and_the_nursery_stays(asker):
    process = asker(fork=True)
    parent, fork = int(process.stdout.readline()), int(process.stdout.readline())
    child = until(lambda: next(filter(is_confined, children(parent)), None))
    os.kill(fork, signal.SIGKILL)
    assert process.stdout.readline() == "buried\n"
    assert until(lambda: is_gone(child))
    assert not is_gone(parent)


def test_a_fork_and_its_stage_may_end_in_the_same_moment(asker):
    process = asker(fork=True)
    parent, fork = int(process.stdout.readline()), int(process.stdout.readline())
    child = until(lambda: next(filter(is_confined, children(parent)), None))
    os.kill(parent, signal.SIGSTOP)  # both have happened when it looks again
    for gone in (fork, child):
        os.kill(gone, signal.SIGKILL)
    assert process.stdout.readline() == "buried\n"
    os.kill(parent, signal.SIGCONT)
    assert until(lambda: is_gone(child))
    time.sleep(1)  # long enough for it to end, had it lost count
    assert not is_gone(parent)


def test_two_hundred_questions_leave_nothing_behind(tmp_path, bundle_folder):
    rules = made(tmp_path, np.ones((4, 4, 4), "u1"))
    submission = sent(tmp_path, np.ones((4, 4, 4), "u1"))
    stages.check(submission, rules, called="x")
    parent, folder = nursery(), asking._here.nursery.folder

    def open_now() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir(f"/proc/{parent}/fd"))

    before = open_now()
    for _ in range(70):
        stages.check(submission, rules, called="x")
        with stages.scratch(tmp_path / "s") as into:
            read = stages.ingest(TARGET, submission, rules, into=into)
            stages.score(TARGET, read, rules)
    assert all(now <= then for now, then in zip(open_now(), before, strict=True))
    assert children(parent) == []
    assert [path.name for path in folder.iterdir()] == ["ask"]
    assert list((tmp_path / "s").iterdir()) == []
    assert len(os.listdir(f"/proc/{parent}/task")) == 1


def test_several_may_ask_at_once(tmp_path, packed, bundle_folder):
    rules = scoring.Rules(
        (bundle_folder / "manifest.csv").read_text(), (bundle_folder / "labels.toml").read_text(),
        "crista-1", bundle_folder / "truth.zarr",
    )  # fmt: skip
    targets = [item.target for item in scoring.items(rules)] * 2

    def one(target: str) -> dict:
        with stages.scratch(tmp_path) as into:
            return stages.score(target, stages.ingest(target, packed, rules, into=into), rules)

    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(one, targets))
    assert [f"{score['crop']}/{score['label']}" for score in scores] == targets
    assert scores[:6] == scores[6:]


def test_a_slow_asker_keeps_nobody_waiting(long, tmp_path):
    """It has connected and says nothing yet."""
    rules, _ = long
    (tmp_path / "x.zip").write_bytes(b"no")
    with asking._connect():
        assert stages.check(tmp_path / "x.zip", rules, called="x.zip")[0] is False
    assert until(lambda: children(nursery()) == [])


def test_an_answer_without_end_is_cut_short():
    """A process that says too much is asked to end, and what it said is thrown away."""
    ours, theirs = asking.socket.socketpair()
    reading, writing = os.pipe()

    def talk() -> None:
        part, said = b"x" * (1 << 16), 0
        while said <= asking.MOST_RESULT:
            said += os.write(writing, part)
        assert theirs.recv(1) == b""  # it hung up
        theirs.send(b'{"status": 9, "resident": 0}\n')

    thread = threading.Thread(target=talk)
    thread.start()
    with ours:
        waiting = asking._Waiting(ours, reading, ROOMY)
        with pytest.raises(stages.StageDied, match="result"):
            asking._answer("check", *waiting.wait("check"), ROOMY)
    thread.join()
    for file in (reading, writing):
        os.close(file)
    theirs.close()


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"5", b"{}", b'{"refused": "no"}', b"[" * 100_000, b"\xff", b'{"value"']
)
def test_an_answer_that_makes_no_sense_is_a_death(said):
    with pytest.raises(stages.StageDied, match="result"):
        asking._answer("ingest", said, {"status": 0, "resident": 0}, "", ROOMY)


@pytest.mark.parametrize(
    ("status", "resident", "reason"),
    [
        (signal.SIGKILL, 0, "signal 9"),
        (signal.SIGKILL, 4 * GIB, "memory"),
        (signal.SIGABRT, 0, "memory"),
        (signal.SIGXCPU, 0, "cpu"),
        (signal.SIGSEGV, 0, "signal 11"),
        (1 << 8, 0, "exit 1"),
        (3 << 8, 0, "memory"),
    ],
)
def test_how_a_process_ended_says_why(status, resident, reason):
    with pytest.raises(stages.StageDied, match=reason):
        asking._answer("score", b"", {"status": int(status), "resident": resident}, "", ROOMY)
