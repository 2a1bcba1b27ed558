import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import zarr
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError

from server.accounts.models import AuditEvent
from server.challenges.bundle import read_bundle
from server.challenges.loading import fingerprint, load
from server.challenges.models import Challenge, TruthVersion
from tests.server import entries

pytestmark = pytest.mark.django_db


def change_truth(folder: Path) -> str:
    """Flip one voxel of one truth array; its path."""
    path = sorted(p for p in (folder / "truth.zarr").glob("*/*") if p.is_dir())[0]
    array = zarr.open_array(str(path), mode="r+")
    corner = np.asarray(array[:1, :1, :1])
    array[:1, :1, :1] = corner == 0
    return "/".join(path.parts[-2:])


def test_a_challenge_is_loaded_with_a_copy_of_its_truth(folder):
    out = StringIO()
    call_command("load_challenge", str(folder), stdout=out)
    challenge = Challenge.objects.get()
    truth = challenge.truths.get()
    assert (truth.number, len(truth.digests)) == (1, 6)
    assert [label["name"] for label in truth.labels] == ["membrane", "mito", "nucleus"]
    assert Path(truth.path).parent == Path(settings.TRUTH_DIR)
    assert Path(settings.TRUTH_DIR).stat().st_mode & 0o077 == 0
    shutil.rmtree(folder)
    assert all((Path(truth.path) / target).is_dir() for target in truth.digests)
    assert challenge.phases.get().truth == truth
    assert out.getvalue().startswith("made-up: 6 targets, truth 1")


def test_loading_twice_changes_nothing_and_copies_nothing(folder):
    load(read_bundle(folder))
    before = sorted(Path(settings.TRUTH_DIR).iterdir())
    events = AuditEvent.objects.count()
    load(read_bundle(folder))
    assert TruthVersion.objects.count() == 1
    assert AuditEvent.objects.count() == events
    assert sorted(Path(settings.TRUTH_DIR).iterdir()) == before


def test_new_dates_are_taken_over_and_written_down(folder):
    load(read_bundle(folder))
    toml = folder / "challenge.toml"
    toml.write_text(toml.read_text().replace("2099", "2098").replace("Made up", "Better"))
    challenge = load(read_bundle(folder))
    phase = challenge.phases.get()
    assert (challenge.title, phase.closes.year) == ("Better", 2098)
    event = AuditEvent.objects.filter(kind="phase").first()
    assert ("2099" in event.before, "2098" in event.after) == (True, True)


def test_a_changed_voxel_makes_a_new_version_and_leaves_the_old_one(folder):
    challenge = load(read_bundle(folder))
    path = change_truth(folder)
    load(read_bundle(folder))
    new, old = challenge.truths.all()
    assert (new.number, old.number) == (2, 1)
    assert {p for p in new.digests if new.digests[p] != old.digests[p]} == {path}
    assert new.digest != old.digest
    assert challenge.phases.get().truth == new
    assert Path(old.path).is_dir()


def test_touched_files_with_the_same_voxels_are_read_but_make_no_version(folder):
    challenge = load(read_bundle(folder))
    first = challenge.truths.get().fingerprint
    for file in (folder / "truth.zarr").rglob("*"):
        file.touch()
    load(read_bundle(folder))
    assert challenge.truths.get().fingerprint != first


def test_another_manifest_over_the_same_truth_is_another_version(folder):
    challenge = load(read_bundle(folder))
    table = folder / "manifest.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    load(read_bundle(folder))
    assert [len(t.digests) for t in challenge.truths.all()] == [5, 6]


def test_in_place_copies_nothing(folder):
    before = sorted(Path(settings.TRUTH_DIR).iterdir())
    challenge = load(read_bundle(folder), in_place=True)
    assert Path(challenge.truths.get().path) == folder / "truth.zarr"
    assert sorted(Path(settings.TRUTH_DIR).iterdir()) == before


def test_a_bundle_with_a_mistake_changes_nothing(folder):
    load(read_bundle(folder))
    toml = folder / "challenge.toml"
    toml.write_text(toml.read_text().replace("Made up", "Worse") + "per_day = 4\nspeed = 1\n")
    with pytest.raises(CommandError, match=r"Nothing was loaded\."):
        call_command("load_challenge", str(folder))
    assert Challenge.objects.get().title == "Made up"


def test_a_loading_that_fails_half_way_leaves_nothing(folder):
    toml = folder / "challenge.toml"
    toml.write_text(
        toml.read_text() + toml.read_text().split("\n\n", 1)[1].replace('"test"', '"b"')
    )
    bundle = read_bundle(folder)
    broken = replace(bundle, phases=(bundle.phases[0], replace(bundle.phases[1], opens=None)))
    Path(settings.TRUTH_DIR).mkdir(mode=0o700, exist_ok=True)
    before = sorted(Path(settings.TRUTH_DIR).iterdir())
    with pytest.raises(IntegrityError):
        load(broken)
    assert not Challenge.objects.exists()
    assert not TruthVersion.objects.exists()
    assert not AuditEvent.objects.filter(kind__in=("truth", "phase")).exists()
    assert sorted(Path(settings.TRUTH_DIR).iterdir()) == before


def test_a_second_phase_comes_and_a_missing_one_stays(folder):
    toml = folder / "challenge.toml"
    first = toml.read_text()
    second = first.split("\n\n", 1)[1].replace('"test"', '"later"')
    challenge = load(read_bundle(folder))
    toml.write_text(first + "\n" + second)
    load(read_bundle(folder))
    assert [phase.slug for phase in challenge.phases.all()] == ["test", "later"]
    toml.write_text(first)
    load(read_bundle(folder))
    assert [phase.slug for phase in challenge.phases.all()] == ["test", "later"]


def test_content_that_changed_behind_the_back_is_found_by_rereading(folder):
    challenge = load(read_bundle(folder))
    path = folder / "truth.zarr" / change_truth(folder)
    known = challenge.truths.get()
    touched = read_bundle(folder)
    TruthVersion.objects.filter(pk=known.pk).update(fingerprint=fingerprint(touched.rules))
    load(touched)
    assert challenge.truths.count() == 1  # no file looks changed
    load(touched, reread=True)
    assert challenge.truths.count() == 2
    assert path.is_dir()


def test_over_scored_submissions_a_new_truth_waits_as_a_draft(folder, people):
    challenge = load(read_bundle(folder))
    phase, out = challenge.phases.get(), StringIO()
    entries.submission(phase, people.ada.own_team, status="scored")
    change_truth(folder)
    call_command("load_challenge", str(folder), stdout=out)
    phase.refresh_from_db()
    assert (phase.truth.number, challenge.truths.count()) == (1, 2)
    draft = phase.editions.get(state="draft")
    assert draft.truth.number == 2
    assert "rescore made-up test --plan" in out.getvalue()
    load(read_bundle(folder))
    assert phase.editions.count() == 2  # loading again proposes nothing new


def test_a_newer_truth_takes_the_place_of_a_draft(folder, people):
    challenge = load(read_bundle(folder))
    phase = challenge.phases.get()
    entries.submission(phase, people.ada.own_team, status="scored")
    change_truth(folder)
    load(read_bundle(folder))
    change_truth(folder)  # the voxel is as it was: another version of the first content
    load(read_bundle(folder))
    states = [(row.truth.number, row.state) for row in phase.editions.order_by("number")]
    assert states == [(1, "published"), (2, "discarded"), (3, "draft")]


def test_another_protocol_over_scored_submissions_waits_too(folder, people):
    phase = load(read_bundle(folder)).phases.get()
    entries.submission(phase, people.ada.own_team, status="scored")
    toml = folder / "challenge.toml"
    toml.write_text(toml.read_text().replace("crista-1", "cellmap-2026.1"))
    load(read_bundle(folder))
    phase.refresh_from_db()
    assert phase.protocol.name == "crista-1"
    assert phase.editions.get(state="draft").protocol.name == "cellmap-2026.1"


def test_changed_terms_are_written_down_field_by_field(folder):
    load(read_bundle(folder))
    toml = folder / "challenge.toml"
    toml.write_text(toml.read_text() + 'selection = "last"\nembargo = 2098-01-01T00:00:00Z\n')
    load(read_bundle(folder))
    note = AuditEvent.objects.filter(kind="phase").first().note
    assert "selection: best → last" in note
    assert "embargo: None → 2098-01-01" in note
