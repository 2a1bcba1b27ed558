import numpy as np
import pytest

from baselines.config import ObjectsConfig
from baselines.objects.agreement import panoptic_quality
from baselines.objects.decoding import (
    Thresholds,
    filled,
    grown,
    mask_of,
    objects_of,
)
from baselines.objects.heads import AFFINITY, BCD, COMPONENTS
from baselines.volumes.components import components
from benchmarks.cells import cells, head_of, seen


def two_bars():
    mask = np.zeros((2, 3, 8), np.uint8)
    mask[0, 0, :4] = 1
    mask[1, 0, 2:6] = 1  # the same bar, one plane on
    mask[0, 2, 5] = 1
    return mask


def test_components_hang_together_across_planes():
    found = components(two_bars(), smallest=1)
    assert found.max() == 2
    assert found[0, 0, 0] == found[1, 0, 5]
    assert found[0, 2, 5] not in (0, found[0, 0, 0])


def test_planar_components_end_at_their_plane():
    found = components(two_bars(), smallest=1, planar=True)
    assert found.max() == 3
    assert found[0, 0, 0] != found[1, 0, 5]
    assert len(np.unique(found)) == 4


def test_small_components_disappear_and_numbers_have_no_gaps():
    found = components(two_bars()[:, ::-1], smallest=2)
    assert np.unique(found).tolist() == [0, 1]
    assert (found > 0).sum() == 8


def test_nothing_gives_nothing():
    assert not components(np.zeros((2, 2, 2), np.uint8), smallest=1).any()


def test_objects_that_touch_at_an_edge_stay_apart():
    mask = np.array([[[1, 0], [0, 1]]])
    assert components(mask, smallest=1).max() == 2


def test_growing_widens_objects_but_never_into_each_other():
    ids = np.array([[[0, 0, 1, 0, 0, 2, 0]]])
    np.testing.assert_array_equal(grown(ids, 1), [[[0, 1, 1, 1, 2, 2, 2]]])
    np.testing.assert_array_equal(grown(ids, 0), ids)
    assert grown(np.array([[[1]], [[0]]]), 3)[1, 0, 0] == 0  # within the plane


def test_the_mask_is_what_lies_above_the_threshold():
    stored = np.array([0, 127, 128, 129, 255], np.uint8)
    assert mask_of(stored, 0.5).tolist() == [0, 0, 0, 1, 1]
    assert mask_of(stored, 0.0).tolist() == [0, 1, 1, 1, 1]


def test_thresholds_are_those_of_the_settings_unless_better_ones_were_found():
    config = ObjectsConfig(seed_contour=0.3, bias=0.6)
    assert Thresholds.of(config) == Thresholds(seed_contour=0.3, bias=0.6)
    found = Thresholds.of(config, found={"bias": 0.7, "mask": 0.4})
    assert found == Thresholds(mask=0.4, seed_contour=0.3, bias=0.7)
    assert Thresholds(**found.to_json()) == found


def test_a_hole_in_one_object_is_filled():
    ids = np.zeros((5, 5, 8), np.uint32)
    ids[1:4, 1:4, 1:4] = 3
    ids[2, 2, 2] = 0
    expected = ids.copy()
    expected[2, 2, 2] = 3
    np.testing.assert_array_equal(filled(ids), expected)


def test_what_is_open_or_lies_between_two_objects_is_no_hole():
    ids = np.ones((5, 5, 5), np.uint32)
    ids[2, 2, 2] = 0
    ids[2, 2, 3] = 2
    np.testing.assert_array_equal(filled(ids), ids)  # two objects are around it
    tunnel = np.ones((5, 5, 5), np.uint32)
    tunnel[:, 2, 2] = 0
    np.testing.assert_array_equal(filled(tunnel), tunnel)
    assert filled(tunnel, planar=True).all()


def test_holes_of_a_single_plane_and_of_several_objects_at_once():
    ids = np.zeros((1, 5, 9), np.uint32)
    ids[0, 1:4, 1:4], ids[0, 1:4, 5:8] = 1, 2
    ids[0, 2, 2] = ids[0, 2, 6] = 0
    found = filled(ids)
    assert (found[0, 2, 2], found[0, 2, 6]) == (1, 2)
    assert (found > 0).sum() == 18


def test_an_object_in_a_hole_of_another_stays():
    ids = np.ones((7, 7, 7), np.uint32)
    ids[2:5, 2:5, 2:5] = 0
    ids[3, 3, 3] = 2
    np.testing.assert_array_equal(filled(ids), ids)


LOW = Thresholds(seed_mask=0.5, seed_contour=0.5)


@pytest.mark.parametrize("representation", [BCD, AFFINITY])
def test_objects_that_touch_are_told_apart_where_components_fail(representation):
    """Round objects that touch: 0.15 above what plain components of the mask reach."""
    ids = cells((40, 48, 48), 45, radius=7)
    head = head_of(representation)
    given = seen(ids, head, blur=0.5)
    found = panoptic_quality(ids, objects_of(given, head, LOW, smallest=20))
    plain = panoptic_quality(ids, components(mask_of(given[0], 0.5), smallest=20))
    assert found >= 0.9
    assert found >= plain + 0.15


def test_dense_cells_are_found_from_affinities():
    ids = cells((32, 48, 48), 40)
    head = head_of(AFFINITY)
    assert panoptic_quality(ids, objects_of(seen(ids, head, blur=0.5), head, LOW)) >= 0.9


@pytest.mark.parametrize("representation", [COMPONENTS, BCD, AFFINITY])
def test_objects_are_filled_large_enough_and_numbered_without_gaps(representation):
    ids = np.zeros((12, 24, 40), np.uint32)
    ids[1:11, 2:12, 2:12], ids[1:11, 2:12, 20:30] = 1, 2
    ids[5, 20, 20:23] = 3
    head = head_of(representation)
    given = seen(ids, head, noise=0)
    given[:, 5, 6, 6] = 0  # a voxel that the network missed
    found = objects_of(given, head, LOW, smallest=10)
    assert np.unique(found).tolist() == [0, 1, 2]
    assert found[5, 6, 6] == found[5, 5, 5]
    open_ids = objects_of(given, head, LOW, smallest=1, fill_holes=False)
    assert open_ids[5, 6, 6] == 0
    assert open_ids.max() == 3


@pytest.mark.parametrize("representation", [COMPONENTS, BCD, AFFINITY])
def test_nothing_seen_is_no_object(representation):
    head = head_of(representation)
    nothing = np.zeros((len(head.channels), 4, 8, 8), np.uint8)
    found = objects_of(nothing, head, Thresholds())
    assert not found.any()
    assert found.dtype == np.uint32
