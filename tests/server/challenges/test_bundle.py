import shutil
from datetime import UTC, datetime

import pytest

from server.challenges.bundle import BundleError, read_bundle
from tests.server.challenges.tables import HEAD, PHASE


def mistakes(folder, toml: str | None = None) -> str:
    if toml is not None:
        (folder / "challenge.toml").write_text(toml, "utf-8")
    with pytest.raises(BundleError) as error:
        read_bundle(folder)
    return str(error.value)


def test_a_bundle_is_read_with_its_texts_and_phases(folder):
    (folder / "challenge.toml").write_text(HEAD + PHASE + 'visibility = "own"\nper_day = 7\n')
    bundle = read_bundle(folder)
    assert (bundle.slug, bundle.title, bundle.summary) == ("made-up", "Made up", "")
    assert (bundle.overview, bundle.rules_text) == ("# Welcome\n", "")
    (phase,) = bundle.phases
    assert phase.opens == datetime(2026, 1, 1, tzinfo=UTC)
    assert (phase.visibility, phase.per_day, phase.concurrent) == ("own", 7, 1)


def test_a_phase_says_what_is_seen_and_what_counts(folder):
    more = 'embargo = 2026-03-01T00:00:00Z\nselection = "chosen"\ndetail = "overall"\ntotal = 9\n'
    (folder / "challenge.toml").write_text(HEAD + PHASE + more + "digits = 2\n")
    (phase,) = read_bundle(folder).phases
    assert phase.embargo == datetime(2026, 3, 1, tzinfo=UTC)
    assert (phase.selection, phase.detail, phase.digits, phase.total) == ("chosen", "overall", 2, 9)
    assert (phase.merge_until, phase.attempts_per_day) == (None, 20)


def test_dates_may_be_text_and_without_a_zone_are_utc(folder):
    toml = HEAD + PHASE.replace("2026-01-01T00:00:00Z", '"2026-01-01T08:30"')
    (folder / "challenge.toml").write_text(toml)
    assert read_bundle(folder).phases[0].opens == datetime(2026, 1, 1, 8, 30, tzinfo=UTC)


def test_a_folder_without_a_table_says_what_is_missing(tmp_path):
    assert "challenge.toml is missing" in mistakes(tmp_path)


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("slug = ", "is not TOML"),
        (PHASE, "needs slug = …"),
        (HEAD, "needs at least one [[phase]]"),
        (HEAD + 'colour = "red"\n' + PHASE, "unknown key 'colour'"),
        (
            HEAD.replace("crista-1", "other-9") + PHASE,
            "no protocol 'other-9'. Known: cellmap-2026.1, crista-1",
        ),
        (HEAD.replace("made-up", "made up") + PHASE, "slug is made of letters"),
        (HEAD.replace('"Made up"', "5") + PHASE, "title must be text; got 5"),
        (HEAD + PHASE + PHASE, "two phases share the slug 'test'"),
        (HEAD + PHASE.replace("2026-02-01", "2025-02-01"), "before it opens"),
        (HEAD + PHASE.replace("2026-02-01T00:00:00Z", '"soon"'), "are dates with time"),
        (HEAD + PHASE.replace('slug = "test"\n', ""), "[[phase]] 1: slug must be given"),
        (HEAD + PHASE + 'visibility = "some"\n', "one of full, ranks, own, staff; got 'some'"),
        (HEAD + PHASE + 'selection = "any"\n', "one of best, last, chosen; got 'any'"),
        (HEAD + PHASE + 'detail = "crop"\n', "one of overall, label, target; got 'crop'"),
        (HEAD + PHASE + 'embargo = "later"\n', "embargo is a date with time"),
        (HEAD + PHASE + "digits = -1\n", "digits is a whole number of at least 0"),
        (HEAD + PHASE + "per_day = -1\n", "per_day is a whole number of at least 0; got -1"),
        (HEAD + PHASE + "concurrent = true\n", "concurrent is a whole number"),
        (HEAD + PHASE + "speed = 1\n", "unknown keys ['speed']"),
    ],
)
def test_each_mistake_in_the_table_has_its_sentence(folder, toml, sentence):
    assert sentence in mistakes(folder, toml)


def test_all_mistakes_come_at_once(folder):
    found = mistakes(folder, HEAD.replace("made-up", "made up") + PHASE + "per_day = -1\n")
    assert len(found.splitlines()) == 2


def test_a_target_without_truth_is_named(folder):
    arrays = sorted(p for p in (folder / "truth.zarr").glob("*/*") if p.is_dir())
    shutil.rmtree(arrays[0])
    path = "/".join(arrays[0].parts[-2:])
    assert f"{path} has no truth" in mistakes(folder)


def test_a_truth_of_another_shape_is_named(folder):
    table = folder / "manifest.csv"
    table.write_text(table.read_text().replace("16;32;32", "16;32;33", 1))
    found = mistakes(folder)
    assert "has a truth of shape (16, 32, 32), and the manifest says (16, 32, 33)" in found


def test_a_manifest_that_cannot_be_parsed_says_where(folder):
    (folder / "manifest.csv").write_text("crop_name,dataset\n")
    assert "the first line must name the columns" in mistakes(folder)


def test_labels_that_are_not_there_are_named(folder):
    (folder / "labels.toml").unlink()
    assert "labels.toml must be there" in mistakes(folder)
