"""The rule by which the demo repeats nothing, and the accounts it acts for."""

import sys

import pytest
from django.core.management import CommandError

from server.accounts.models import Token, User
from server.management.commands import demo as module
from server.management.commands.demo import ENTRIES, Demo
from server.supervisor import Supervisor


@pytest.fixture
def said():
    return []


@pytest.fixture
def demo(transactional_db, settings, tmp_path):
    settings.STATE_DIR = tmp_path
    supervisor = Supervisor(tmp_path, print)
    return Demo(supervisor, "http://localhost:1", data=None, overrides=[])


def appends(path, text="x") -> list[str]:
    """A command that adds a letter to a file, so that runs can be counted."""
    code = f"open({str(path)!r}, 'a').write({text!r})"
    return [sys.executable, "-c", code]


def test_a_step_runs_once(demo, said, tmp_path):
    out = tmp_path / "out"
    first = demo.step(said.append, "write", appends(out), makes=out)
    second = demo.step(said.append, "write", appends(out), makes=out)
    assert out.read_text() == "x"
    assert first == second
    assert len([sentence for sentence in said if sentence == "write …"]) == 1


def test_a_step_runs_again_when_its_command_changed(demo, said, tmp_path):
    out = tmp_path / "out"
    demo.step(said.append, "write", appends(out, "a"), makes=out)
    demo.step(said.append, "write", appends(out, "b"), makes=out)
    assert out.read_text() == "ab"


def test_a_step_runs_again_when_what_it_builds_on_did(demo, said, tmp_path):
    out = tmp_path / "out"
    demo.step(said.append, "write", appends(out), makes=out, after="one")
    demo.step(said.append, "write", appends(out), makes=out, after="two")
    assert out.read_text() == "xx"


def test_a_step_runs_again_when_what_it_made_is_gone(demo, said, tmp_path):
    out = tmp_path / "out"
    demo.step(said.append, "write", appends(out), makes=out)
    out.unlink()
    demo.step(said.append, "write", appends(out), makes=out)
    assert out.read_text() == "x"


def test_a_folder_that_was_half_made_is_made_from_nothing(demo, said, tmp_path):
    half = tmp_path / "half"
    half.mkdir()
    (half / "old").touch()
    code = f"import pathlib; p = pathlib.Path({str(half)!r}); p.mkdir(); (p / 'new').touch()"
    demo.step(said.append, "make", [sys.executable, "-c", code], makes=half)
    assert [path.name for path in half.iterdir()] == ["new"]


def test_a_step_that_fails_shows_its_last_words_and_is_not_done(demo, said, tmp_path):
    failing = [sys.executable, "-c", "print('the disk is on fire'); raise SystemExit(3)"]
    for _ in range(2):
        with pytest.raises(CommandError, match="burn failed") as error:
            demo.step(said.append, "burn", failing, makes=tmp_path / "nothing")
        assert "the disk is on fire" in str(error.value)
    assert not list(demo.home.glob("*.done"))


def test_the_password_is_made_once_and_only_this_user_can_read_it(tmp_path):
    path = tmp_path / "password"
    first = module._password(path)
    assert len(first) >= 12
    assert module._password(path) == first
    assert path.stat().st_mode & 0o077 == 0


def test_every_entry_acts_for_a_person_of_its_own_with_one_token(demo):
    for _ in range(2):
        tokens = {demo._as(entry)["CRISTA_TOKEN"] for entry in ENTRIES}
        assert len(tokens) == len(ENTRIES)
    assert Token.objects.count() == len(ENTRIES)
    people = User.objects.filter(is_staff=False)
    assert set(people.values_list("email", flat=True)) == {entry.email for entry in ENTRIES}
    assert all(person.check_password(demo.password) for person in people)


def test_only_the_entry_that_learns_nothing_is_a_reference(demo):
    for entry in ENTRIES:
        demo._as(entry)
    baseline = {entry.method: entry_team(entry).baseline for entry in ENTRIES}
    assert baseline == {"Threshold": True, "U-Net 2D": False, "U-Net 3D": False}


def entry_team(entry):
    return User.objects.get(email=entry.email).own_team
