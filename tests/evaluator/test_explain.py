"""Explanations of targets made by hand, and of a whole challenge beside its scores."""

import math

import numpy as np
import pytest

from evaluator import (
    Status,
    SubmissionWriter,
    create_volume,
    format_labels,
    format_manifest,
    get_protocol,
    load_manifest,
    open_volume,
)
from evaluator.results.explain import (
    collision_sheet,
    explain,
    group_sheet,
    object_sheet,
    pair_sheet,
    plane_errors,
    plane_sheet,
)
from evaluator.runner import Scorer
from tests.evaluator.shapes import boxes, target
from tests.synthetic import write_challenge, write_submission

SHAPE = (10, 10, 10)


@pytest.fixture
def explained(tmp_path):
    """explained(truth, pred) -> the explanation of one target; pred None: it is missing."""

    def told(truth, pred, *, kind="instance", protocol="crista-1", voxel_size=(1.0, 1.0, 1.0)):
        asked = target(kind, truth.shape, voxel_size)
        other = target("semantic", truth.shape, voxel_size, label="other")
        (tmp_path / "manifest.csv").write_text(format_manifest([asked, other]))
        (tmp_path / "labels.toml").write_text(format_labels([asked.label, other.label]))
        place = tmp_path / "truth.zarr"
        create_volume(place / asked.path, asked.grid, truth.dtype)[:] = truth
        for path, array in ((asked, pred), (other, np.ones(truth.shape, np.uint8))):
            if array is not None:
                volume = create_volume(tmp_path / "pred" / path.path, asked.grid, array.dtype)
                volume[:] = array
        manifest = load_manifest(tmp_path)
        scorer = Scorer.open(tmp_path / "pred", manifest, place, get_protocol(protocol))
        return explain(manifest.by_path[asked.path], scorer)

    return told


def test_a_pair_is_told_with_the_ids_as_they_were_stored(explained):
    truth = boxes(((0, 0, 0), (4, 2, 2))) * np.uint16(7)
    pred = np.zeros(SHAPE, np.uint16)
    pred[:3, :2, :2], pred[9, 9, 9] = 300, 500
    told = explained(truth, pred, voxel_size=(40.0, 4.0, 4.0))
    (pair,) = told.objects.pairs
    assert (pair.truth.id, pair.pred.id) == (7, 300)
    assert (pair.truth.voxels, pair.pred.voxels) == (16, 12)
    assert pair.iou == 0.75
    assert pair.hausdorff_nm == 20.0, "a plane is 40 nm, and the cap half of the shortest side"
    assert pair.truth.middle == (2, 1, 1)
    assert [(o.id, o.voxels, o.middle) for o in told.objects.false] == [(500, 1, (9, 9, 9))]
    assert told.objects.missed == ()


def test_what_has_no_counterpart_comes_largest_first(explained):
    truth = boxes(((0, 0, 0), (1, 1, 1)), ((4, 4, 4), (6, 6, 6)), ((8, 8, 8), (9, 9, 10)))
    told = explained(truth, np.zeros(SHAPE, np.uint8))
    assert [(o.id, o.voxels) for o in told.objects.missed] == [(2, 8), (3, 2), (1, 1)]
    assert told.objects.pairs == ()


def test_pairs_come_with_the_worst_overlap_first(explained):
    truth = boxes(((0, 0, 0), (2, 2, 2)), ((5, 5, 5), (9, 9, 9)))
    pred = boxes(((0, 0, 0), (2, 2, 2)), ((5, 5, 5), (7, 9, 9)))
    assert [pair.iou for pair in explained(truth, pred).objects.pairs] == [0.5, 1.0]


def test_a_truth_object_in_two_hands_is_split(explained):
    truth = boxes(((0, 0, 0), (8, 4, 4)))
    pred = boxes(((0, 0, 0), (4, 4, 4)), ((4, 0, 0), (8, 4, 4)))
    told = explained(truth, pred)
    ((whole, parts),) = told.objects.splits
    assert whole.id == 1
    assert sorted(part.id for part in parts) == [1, 2]
    assert told.objects.merges == ()


def test_a_predicted_object_that_holds_two_is_a_merger(explained):
    truth = boxes(((0, 0, 0), (4, 4, 4)), ((5, 0, 0), (9, 4, 4)))
    pred = (boxes(((0, 0, 0), (9, 4, 4))) * np.uint16(5)).astype(np.uint16)
    pred[9, 9, 9] = 6
    told = explained(truth, pred)
    ((merged, held),) = told.objects.merges
    assert merged.id == 5
    assert sorted(part.id for part in held) == [1, 2]
    assert told.objects.splits == ()


def test_a_speck_on_another_object_is_no_split(explained):
    truth = boxes(((0, 0, 0), (10, 2, 2)))
    pred = boxes(((0, 0, 0), (9, 2, 2)), ((9, 0, 0), (10, 2, 1)))
    assert explained(truth, pred).objects.splits == ()


def test_a_mask_falls_into_its_parts(explained):
    truth = boxes(((0, 0, 0), (2, 2, 2)), ((5, 5, 5), (7, 7, 7)))
    told = explained(truth, truth > 0)
    assert [pair.iou for pair in told.objects.pairs] == [1.0, 1.0]
    assert {pair.pred.id for pair in told.objects.pairs} == {1}


def test_ids_that_were_stored_as_floats_are_told_as_ids(explained):
    truth = boxes(((0, 0, 0), (2, 2, 2)), ((5, 5, 5), (7, 7, 7)))
    told = explained(truth, truth.astype(np.float32) * 1000)
    assert [pair.pred.id for pair in told.objects.pairs] == [1000, 2000]


def test_the_official_protocol_takes_two_places_of_an_id_as_two_objects(explained):
    truth = boxes(((0, 0, 0), (2, 2, 2)), ((5, 5, 5), (7, 7, 7)))
    pred = np.where(truth > 0, 9, 0).astype(np.uint16)
    pred[9, 0, 0] = 4
    told = explained(truth, pred, protocol="cellmap-2026.1")
    assert [pair.iou for pair in told.objects.pairs] == [1.0, 1.0]
    assert [pair.pred.id for pair in told.objects.pairs] == [9, 9]
    assert len(explained(truth, pred).objects.pairs) == 1


def test_a_collision_of_numbers_gives_a_missed_object_a_distance(explained):
    truth = boxes(((0, 0, 0), (2, 2, 2)), ((8, 8, 8), (10, 10, 10)))
    pred = boxes(((4, 4, 4), (5, 5, 5)), ((8, 8, 8), (10, 10, 10)))
    told = explained(truth, pred, protocol="cellmap-2026.1")
    ((missed, distance),) = told.objects.collided
    assert missed.id == 1
    assert distance == 5.0, "the cap; without it the square root of 48 would be more"
    assert collision_sheet(told.objects.collided).rows == ((1, 8, 5.0, "1 1 1"),)
    assert explained(truth, pred).objects.collided == ()


def test_a_flooded_target_is_left_out_and_nobody_is_matched(explained):
    truth = boxes(((0, 0, 0), (1, 1, 1)))
    pred = np.zeros(SHAPE, np.uint16)
    pred[::2, ::2, ::2] = np.arange(1, 126).reshape(5, 5, 5)
    told = explained(truth, pred, protocol="cellmap-2026.1")
    assert told.score.status == Status.SKIPPED
    assert told.objects.pairs == ()
    assert len(told.objects.false) == 125
    assert len(explained(truth, pred).objects.pairs) == 1


def test_numbers_that_are_no_ids_stay_what_they_are(explained):
    truth = boxes(((0, 0, 0), (2, 2, 2)))
    told = explained(truth, truth.astype(np.float32) * 0.5, protocol="cellmap-2026.1")
    assert [pair.pred.id for pair in told.objects.pairs] == [0.5]


def test_a_missing_target_misses_everything(explained):
    told = explained(boxes(((0, 0, 0), (2, 2, 2))), None)
    assert told.score.status == Status.MISSING
    assert len(told.objects.missed) == 1
    assert told.reason == ""


def test_an_unreadable_target_says_why(explained):
    told = explained(boxes(((0, 0, 0), (2, 2, 2))), np.full(SHAPE, 0.5, np.float32))
    assert told.score.status == Status.UNREADABLE
    assert "fractions" in told.reason
    assert len(told.objects.missed) == 1


def test_nothing_in_both_is_nothing_to_tell(explained):
    told = explained(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8))
    assert told.objects.pairs == told.objects.missed == told.objects.false == ()


def test_wrong_voxels_of_a_semantic_label_are_counted_plane_by_plane(explained):
    truth = boxes(((0, 0, 0), (2, 2, 2))) > 0
    pred = boxes(((1, 0, 0), (3, 2, 1))) > 0
    told = explained(truth, pred, kind="semantic")
    fp, fn, tp = plane_errors(told, 0)
    assert fp.tolist()[:4] == [0, 0, 2, 0]
    assert fn.tolist()[:4] == [4, 2, 0, 0]
    assert tp.tolist()[:4] == [0, 2, 0, 0]
    assert plane_errors(told, 2)[1].tolist()[:3] == [2, 4, 0]
    assert plane_sheet(told).rows[2] == (2, 2, 0, 0)
    assert told.objects is None


def test_a_probability_is_cut_where_the_protocol_cuts_it(explained):
    truth = boxes(((0, 0, 0), (2, 2, 2))) > 0
    pred = np.where(truth, 0.4, 0.0).astype(np.float32)
    assert not explained(truth, pred, kind="semantic").pred.any()
    assert explained(truth, pred, kind="semantic", protocol="cellmap-2026.1").pred.any()


def test_what_a_mask_excludes_is_background(explained, tmp_path):
    truth = boxes(((0, 0, 0), (2, 2, 2)), ((5, 5, 5), (7, 7, 7)))
    keep = np.ones(SHAPE, np.uint8)
    keep[5:] = 0
    grid = target("instance").grid
    create_volume(tmp_path / "truth.zarr" / "crop1" / "mito_mask", grid, np.uint8)[:] = keep
    told = explained(truth, truth)
    assert [pair.truth.id for pair in told.objects.pairs] == [1]
    assert not told.pred[5:].any()


def test_tables_have_a_row_per_object(explained):
    truth = boxes(((0, 0, 0), (8, 4, 4)), ((9, 9, 9), (10, 10, 10)))
    pred = boxes(((0, 0, 0), (4, 4, 4)), ((4, 0, 0), (8, 4, 4)))
    told = explained(truth, pred).objects
    assert len(pair_sheet(told.pairs).rows) == 1
    assert object_sheet(told.missed, named="truth").rows == ((2, 1, "9 9 9"),)
    assert group_sheet(told.splits, named="truth").rows == ((1, 128, "1 2", "4 2 2"),)


@pytest.fixture(scope="module")
def challenge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("challenge")
    write_challenge(folder, size=40, crops=3)
    write_submission(folder / "s.zip", folder, quality=0.5)
    return folder


@pytest.mark.parametrize("protocol", ["crista-1", "cellmap-2026.1"])
def test_an_explanation_says_the_numbers_of_the_score(challenge, protocol):
    manifest, truth = load_manifest(challenge), challenge / "truth.zarr"
    scorer = Scorer.open(challenge / "s.zip", manifest, truth, get_protocol(protocol))
    for asked in manifest.targets:
        told = explain(asked, scorer)
        sums = told.score.sums
        if told.objects is None:
            fp, fn, tp = (int(part.sum()) for part in plane_errors(told, 0))
            assert (tp, fp, fn) == (sums.voxels.tp, sums.voxels.fp, sums.voxels.fn)
            continue
        objects = told.objects
        assert len(objects.pairs) == sums.objects.tp
        assert len(objects.false) == sums.objects.fp
        assert len(objects.missed) == sums.objects.fn
        assert math.fsum(pair.iou for pair in objects.pairs) == pytest.approx(sums.iou)
        cap = min(asked.grid.extent_nm) / 2
        alone = len(objects.false) + len(objects.missed) - len(objects.collided)
        distances = [*(p.hausdorff_nm for p in objects.pairs), *(d for _, d in objects.collided)]
        distance = math.fsum(distances) + cap * alone
        assert distance == pytest.approx(sums.distance_nm)


def test_splits_and_mergers_are_those_of_the_score(tmp_path):
    asked = target("instance", (16, 32, 32))
    (tmp_path / "manifest.csv").write_text(format_manifest([asked]))
    (tmp_path / "labels.toml").write_text(format_labels([asked.label]))
    truth = boxes(((0, 0, 0), (16, 8, 8)), ((0, 16, 16), (16, 32, 32)), shape=(16, 32, 32))
    pred = boxes(
        ((0, 0, 0), (8, 8, 8)), ((8, 0, 0), (16, 8, 8)), ((0, 16, 16), (16, 20, 32)),
        shape=(16, 32, 32),
    )  # fmt: skip
    create_volume(tmp_path / "t" / asked.path, asked.grid, truth.dtype)[:] = truth
    manifest = load_manifest(tmp_path)
    with SubmissionWriter(tmp_path / "s.zip", manifest) as writer:
        writer.write(asked, pred)
    rules = get_protocol("crista-1")
    told = explain(asked, Scorer.open(tmp_path / "s.zip", manifest, tmp_path / "t", rules))
    assert (len(told.objects.splits), len(told.objects.merges)) == (1, 0)
    assert open_volume(tmp_path / "t" / asked.path).shape == told.truth.shape
