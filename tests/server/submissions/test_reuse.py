"""A score belongs to what was predicted, not to who sent it or how it was packed, nor to anything
else than what it was computed under.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from evaluator import create_volume, load_manifest
from server import scoring
from server.challenges.models import ProtocolVersion
from server.submissions import evaluation, items, rescoring
from server.submissions.models import Evaluation, Item, ItemScore
from tests.server.taking import checked, score, score_one
from tests.synthetic import predict

TARGET = "crop2/mito"


@pytest.fixture
def first(phase, people, queue_up, packed) -> Evaluation:
    """Of which one target is scored."""
    row = checked(phase, people.ada, packed.read_bytes())
    score_one(row, TARGET)
    return row


def by_hand(folder: Path, bundle: Path, *, chunks: tuple[int, ...] = (16, 32, 32)) -> bytes:
    """The same arrays written without our packer, in other chunks, then zipped without care."""
    manifest, arrays = load_manifest(bundle), predict(bundle, quality=0.9)
    for path, array in arrays.items():
        place, grid = folder / "other.zarr" / path, manifest.by_path[path].grid
        create_volume(place, grid, array.dtype, chunks=chunks)[:] = array
    packed = folder / "other.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted((folder / "other.zarr").rglob("*"), reverse=True):
            if file.is_file():
                archive.write(file, str(file.relative_to(folder)))
    return packed.read_bytes()


def item(row: Evaluation, target: str = TARGET) -> Item:
    return row.items.get(target=target)


@pytest.mark.parametrize("chunks", [(8, 16, 32), (16, 32, 32)])
def test_other_chunks_in_another_zip_are_the_same_prediction(
    first, phase, people, bundle_folder, tmp_path, chunks
):
    row = checked(phase, people.bob, by_hand(tmp_path, bundle_folder, chunks=chunks))
    score_one(row, TARGET)
    found = item(row)
    assert (found.status, found.reused) == ("scored", True)
    assert (found.content, found.score) == (item(first).content, item(first).score)
    assert ItemScore.objects.count() == 1


def test_one_voxel_more_is_another_prediction(first, phase, people, bundle_folder, tmp_path):
    data = by_hand(tmp_path, bundle_folder)
    folder = tmp_path / "other.zarr"
    array = zarr.open_array(str(folder / TARGET), mode="r+")
    array[0, 0, 0] = int(np.asarray(array[0, 0, 0])) + 1
    with zipfile.ZipFile(tmp_path / "changed.zip", "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, str(file.relative_to(tmp_path)))
    assert (tmp_path / "changed.zip").read_bytes() != data
    row = checked(phase, people.bob, (tmp_path / "changed.zip").read_bytes())
    score_one(row, TARGET)
    assert (item(row).status, item(row).reused) == ("scored", False)
    assert item(row).content != item(first).content


def test_the_same_content_has_one_key_in_each_target_truth_and_protocol(first):
    rules = evaluation.rules(first)
    other = first.truth.rules("cellmap-2026.1")
    content, truth = item(first).content, first.truth.digests[TARGET]
    keys = [
        scoring.score_key(TARGET, content, truth, rules),
        scoring.score_key("crop1/mito", content, truth, rules),
        scoring.score_key(TARGET, "0" * 64, truth, rules),
        scoring.score_key(TARGET, content, "0" * 64, rules),
        scoring.score_key(TARGET, content, truth, other),
    ]
    assert len(set(keys)) == 5
    assert {len(key) for key in keys} == {64}
    assert keys[0] == ItemScore.objects.get().key == items.key_of(item(first), first, content)


def test_under_another_protocol_nothing_is_looked_up(first, people):
    protocol = ProtocolVersion.present("cellmap-2026.1")
    row = evaluation.start(first.submission, truth=first.truth, protocol=protocol)
    assert items.known_content(item(row), row) == ""
    score_one(row, TARGET)
    assert (item(row).status, item(row).reused) == ("scored", False)
    assert ItemScore.objects.filter(target=TARGET).count() == 2
    assert set(ItemScore.objects.values_list("protocol", flat=True)) == {
        first.protocol_id, protocol.pk,
    }  # fmt: skip


def test_what_another_evaluator_read_is_read_again(first):
    row = evaluation.start(first.submission, truth=first.truth, protocol=first.protocol)
    assert items.known_content(item(row), row) == item(first).content
    Evaluation.objects.filter(pk=first.pk).update(evaluator="0.0.1")
    assert items.known_content(item(row), row) == ""


def test_another_submission_is_read_although_its_bytes_are_the_same(first, phase, people, packed):
    """What somebody else's file holds is known only once it was read, by its digest."""
    row = checked(phase, people.bob, packed.read_bytes())
    assert items.known_content(item(row), row) == ""
    assert items.known_content(item(row, "crop1/mito"), row) == ""


def test_a_reused_score_says_nothing_of_whose_it_was(first, phase, people, packed):
    row = checked(phase, people.bob, packed.read_bytes())
    score(row)
    kept = ItemScore.objects.get(target=TARGET)
    names = {field.name for field in ItemScore._meta.get_fields()}
    assert not names & {"team", "user", "submission", "upload", "evaluation", "item"}
    assert "ada" not in str(kept.score).lower()
    assert (item(row).reused, row.status) == (True, "scored")
    assert first.submission.team.name not in row.result


def test_a_removed_score_is_computed_again_and_is_equal(first, phase, people, packed):
    before = item(first).score
    ItemScore.objects.all().delete()
    row = checked(phase, people.bob, packed.read_bytes())
    score_one(row, TARGET)
    assert (item(row).reused, item(row).score) == (False, before)


def test_scoring_one_target_twice_changes_no_score_and_makes_no_second_row(first):
    kept = ItemScore.objects.values().get()
    before = item(first).score
    score_one(first, TARGET)  # it does not wait any more
    items.work_on(item(first))  # and a message that comes late
    assert ItemScore.objects.values().get() == kept
    assert (item(first).score, item(first).attempts) == (before, 1)


def test_the_speed_is_taken_from_what_was_computed(first, phase, people, packed):
    pace = rescoring._pace()
    row = checked(phase, people.bob, packed.read_bytes())
    score_one(row, TARGET)
    assert item(row).reused is True
    assert rescoring._pace() == pace
