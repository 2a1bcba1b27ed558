import numpy as np

from baselines.config import ObjectsConfig
from baselines.objects import components, grown, mask_of, smallest_voxels


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


def test_the_smallest_object_is_given_in_cubic_nanometres():
    config = ObjectsConfig(smallest_nm3=1000.0, smallest={"cell": 6400.0})
    assert smallest_voxels(config, "ves", (8.0, 4.0, 4.0)) == 8  # 1000 / 128
    assert smallest_voxels(config, "cell", (8.0, 4.0, 4.0)) == 50
