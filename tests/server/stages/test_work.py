"""How what a stage meets is told."""

import errno
import mmap

import pytest

from server.stages import work


def role(error):
    """A stage that meets an error of the system."""

    def met(asked, files):
        raise error

    return met


def test_memory_that_the_system_refuses_is_no_failure_of_the_storage(monkeypatch):
    def greedy(asked, files):
        return mmap.mmap(-1, 1 << 46)

    monkeypatch.setitem(work.ROLES, "score", greedy)
    with pytest.raises(MemoryError):
        work.do("score", {}, [])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_storage_that_fails_is_told_without_a_path(monkeypatch, number):
    monkeypatch.setitem(work.ROLES, "score", role(OSError(number, "words", "/secret/place")))
    said = work.do("score", {}, [])
    assert said["blame"] == "system"
    assert said["refused"].startswith("The storage failed: ")
    assert "secret" not in said["refused"]
