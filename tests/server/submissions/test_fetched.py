"""Copies of stored files: fetched by one of many, thrown away when nobody uses them."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.submissions.fetched import Fetched


class Store:
    """Files to fetch, and how often each was."""

    def __init__(self, **files: bytes) -> None:
        self.files, self.fetched = files, []

    def fetch(self, name: str):
        def copy(file) -> None:
            self.fetched.append(name)
            file.write(self.files[name])

        return copy


def read(copies: Fetched, store: Store, name: str) -> bytes:
    size = len(store.files[name])
    with copies.file(name, size=size, fetch=store.fetch(name)) as path:
        return path.read_bytes()


def test_a_file_is_fetched_once(tmp_path):
    copies, store = Fetched(tmp_path / "copies", most=100), Store(a=b"abc")
    assert read(copies, store, "a") == read(copies, store, "a") == b"abc"
    assert store.fetched == ["a"]


def test_of_many_askers_at_once_one_fetches(tmp_path):
    copies, store = Fetched(tmp_path, most=100), Store(a=b"abc")

    def slow(file) -> None:
        time.sleep(0.2)
        store.fetch("a")(file)

    def ask(_: int) -> bytes:
        with copies.file("a", size=3, fetch=slow) as path:
            return path.read_bytes()

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(ask, range(6))) == {b"abc"}
    assert store.fetched == ["a"]


def test_what_was_cut_short_is_fetched_again(tmp_path):
    copies, store = Fetched(tmp_path, most=100), Store(a=b"abc")
    (tmp_path / "a").write_bytes(b"ab")
    assert read(copies, store, "a") == b"abc"


def test_a_file_of_another_size_is_no_copy(tmp_path):
    copies, store = Fetched(tmp_path, most=100), Store(a=b"abc")
    with (
        pytest.raises(FileNotFoundError),
        copies.file("a", size=4, fetch=store.fetch("a")),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_least_recently_used_goes_first_and_none_that_is_in_use(tmp_path):
    store = Store(a=b"a" * 40, b=b"b" * 40, c=b"c" * 40)
    copies = Fetched(tmp_path, most=100)
    read(copies, store, "a")
    read(copies, store, "b")
    os.utime(tmp_path / "a", (1, 1))
    os.utime(tmp_path / "b", (2, 2))
    with copies.file("a", size=40, fetch=store.fetch("a")):
        os.utime(tmp_path / "a", (1, 1))
        read(copies, store, "c")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
    assert read(copies, store, "b") == b"b" * 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_a_file_thrown_away_while_somebody_waited_for_it_is_fetched_again(tmp_path):
    store, copies = Store(a=b"abc", b=b"b"), Fetched(tmp_path, most=0)
    read(copies, store, "a")
    stop = threading.Event()

    def throw_away() -> None:
        while not stop.is_set():
            read(copies, store, "b")

    thread = threading.Thread(target=throw_away)
    thread.start()
    try:
        for _ in range(100):
            assert read(copies, store, "a") == b"abc"
    finally:
        stop.set()
        thread.join()


def test_many_who_make_room_at_once_take_nothing_from_each_other(tmp_path):
    """Each throws away what the others have just read; nobody misses what is in use."""
    store = Store(**{name: name.encode() for name in "abcdef"})
    copies = Fetched(tmp_path, most=2)

    def ask(number: int) -> None:
        for turn in range(300):
            name = "abcdef"[(7 * turn + 3 * number + turn // 5) % 6]
            assert read(copies, store, name) == store.files[name]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ask, range(6)))
