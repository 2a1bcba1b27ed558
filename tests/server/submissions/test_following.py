"""The digest of a file that grows, from real files and a thread of its own."""

import hashlib
import os
import threading
import time

import pytest

from server.submissions import following
from server.submissions.following import BLOCK, STRETCH, Follower

PATIENCE_S = 20.0


@pytest.fixture
def file(tmp_path):
    return tmp_path / "x.zip"


@pytest.fixture(autouse=True)
def short_lives(monkeypatch):
    """Threads that end soon after their work."""
    monkeypatch.setattr(following, "LINGER_S", 0.05)


def grow(file, size: int) -> bytes:
    data = os.urandom(size)
    with file.open("ab") as end:
        end.write(data)
    return data


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def eventually(condition) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def test_a_file_that_grows_in_pieces_has_the_digest_of_the_whole(file):
    follower, data = Follower(file), b""
    for size in (1, BLOCK - 1, 3 * BLOCK + 7, STRETCH + 5, 2):
        data += grow(file, size)
        follower.reach(len(data))
    assert follower.digest(len(data), within_s=PATIENCE_S) == sha(data)


def test_most_is_read_before_anybody_asks(file):
    follower, data = Follower(file), grow(file, 3 * STRETCH)
    follower.reach(len(data))
    assert eventually(lambda: follower._done == len(data))


def test_a_thread_that_waited_for_more_in_vain_ends_and_another_goes_on(file):
    before = threading.active_count()
    follower, data = Follower(file), grow(file, STRETCH)
    follower.reach(len(data))
    assert eventually(lambda: follower._done == len(data) and threading.active_count() == before)
    data += grow(file, STRETCH)
    follower.reach(len(data))
    assert follower.digest(len(data), within_s=PATIENCE_S) == sha(data)


def test_many_who_tell_at_once_start_one_thread(file):
    data = grow(file, 4 * STRETCH)
    follower = Follower(file)
    tellers = [
        threading.Thread(target=follower.reach, args=(n * BLOCK,))
        for n in range(1, len(data) // BLOCK)
    ]
    for teller in tellers:
        teller.start()
    for teller in tellers:
        teller.join()
    assert follower.digest(len(data), within_s=PATIENCE_S) == sha(data)


def test_what_was_not_told_of_is_not_read(file):
    follower, data = Follower(file), grow(file, STRETCH)
    grow(file, STRETCH)  # may be cut off again
    follower.reach(len(data))
    assert follower.digest(len(data), within_s=PATIENCE_S) == sha(data)


def test_the_digest_of_more_than_was_asked_for_is_no_answer(file):
    follower, data = Follower(file), grow(file, STRETCH)
    follower.reach(len(data))
    assert follower.digest(len(data), within_s=PATIENCE_S)
    assert follower.digest(len(data) - 1, within_s=PATIENCE_S) == ""


@pytest.mark.parametrize("size", [0, 10, STRETCH])
def test_a_file_shorter_than_it_was_told_has_no_digest_and_keeps_nobody_waiting(file, size):
    follower = Follower(file)
    grow(file, size)
    began = time.monotonic()
    assert follower.digest(size + 1, within_s=PATIENCE_S) == ""
    assert time.monotonic() - began < PATIENCE_S / 2


def test_a_file_that_is_gone_has_no_digest_and_keeps_nobody_waiting(file):
    began = time.monotonic()
    assert Follower(file).digest(10, within_s=PATIENCE_S) == ""
    assert time.monotonic() - began < PATIENCE_S / 2


def test_who_cannot_wait_goes_without(file):
    follower, data = Follower(file), grow(file, 8 * STRETCH)
    assert follower.digest(len(data), within_s=0.0) == ""
    assert eventually(lambda: not follower._running)
    assert follower._done < len(data)  # nobody reads on for nobody
    assert follower.digest(len(data), within_s=PATIENCE_S) == sha(data)


def test_what_is_dropped_from_memory_is_still_in_the_file(file, monkeypatch):
    monkeypatch.setattr(following, "DROP", BLOCK)
    follower, data = Follower(file), grow(file, 2 * STRETCH)
    follower.reach(len(data))
    assert follower.digest(len(data), within_s=PATIENCE_S) == sha(data)
    assert file.read_bytes() == data
