"""A job that is asked to stop: heard inside its block, remembered outside, never twice."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START = """
import os, signal
from server import interruption
from server.interruption import Interrupted, interruptible
interruption.listen(os.getppid())
"""


def said(code: str) -> list[str]:
    """What a process of its own prints, which listens for the stop signal."""
    done = subprocess.run(
        [sys.executable, "-c", START + code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_inside_a_block_the_signal_ends_it_and_what_cleans_up_is_run():
    code = """
try:
    with interruptible():
        try:
            interruption.ask()
            print("went-on")
        finally:
            interruption.ask()  # while it cleans up: not interrupted again
            print("cleaned")
except Interrupted:
    print("interrupted")
"""
    assert said(code) == ["cleaned", "interrupted"]


def test_outside_of_a_block_it_is_remembered_until_the_next_one():
    code = """
interruption.ask()
print("wrote-in-peace")
try:
    with interruptible():
        print("began")
except Interrupted:
    print("interrupted")
"""
    assert said(code) == ["wrote-in-peace", "interrupted"]


def test_nobody_who_catches_exceptions_takes_it_for_one():
    code = """
try:
    with interruptible():
        try:
            interruption.ask()
        except Exception:
            print("swallowed")
except Interrupted:
    print("interrupted")
"""
    assert said(code) == ["interrupted"]


@pytest.mark.parametrize(
    ("parent", "gone"), [("os.getppid()", "False"), ("0", "False"), ("999999", "True")]
)
def test_a_parent_that_is_another_one_now_is_gone(parent, gone):
    code = f"interruption.listen({parent}); print(interruption.parent_is_gone())"
    assert said(code) == [gone]


def test_who_listens_to_a_worker_that_died_already_begins_nothing():
    code = """
interruption.listen(999999)
try:
    with interruptible():
        print("began")
except Interrupted:
    print("interrupted")
"""
    assert said(code) == ["interrupted"]


def test_a_new_job_forgets_what_the_one_before_was_asked():
    code = """
interruption.ask()
interruption.listen(os.getppid())
with interruptible():
    print("began")
"""
    assert said(code) == ["began"]


def test_an_orphan_makes_sure_for_a_moment_that_it_is_one():
    code = """
import time
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        interruption.listen(os.getppid())
        found = [interruption.orphaned(within=0), interruption.orphaned(within=20)]
        os.write(write, f"{found[0]} {found[1]}".encode())
        os._exit(0)
    time.sleep(0.3)  # a worker whose threads end one after the other
    os._exit(0)
os.close(write)
print(os.read(read, 100).decode())
"""
    assert said(code) == ["False", "True"]
