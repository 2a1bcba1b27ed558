import numpy as np
import pytest
from skimage.segmentation import watershed

from baselines.objects.decoding import Thresholds, seeds_of
from baselines.objects.heads import BCD
from baselines.objects.watershed import flood, seed_mask
from baselines.volumes.components import components
from benchmarks.cells import cells, head_of, seen


def probabilities(mask, contour, distance):
    return np.array([mask, contour, distance], np.uint8).reshape(3, 1, 1, -1)


def test_seeds_lie_where_mask_and_distance_are_above_and_the_contour_is_below():
    given = probabilities([200, 200, 200, 100], [0, 200, 0, 0], [200, 200, 100, 200])
    found = seed_mask(given, mask=0.5, contour=0.5, distance=0.5)
    assert found.ravel().tolist() == [True, False, False, False]


def test_waters_meet_at_the_contour():
    given = probabilities([255] * 9, [0, 0, 0, 0, 90, 255, 90, 0, 0], [9, 7, 5, 3, 1, 0, 1, 3, 5])
    seeds = np.zeros((1, 1, 9), np.uint32)
    seeds[..., 0], seeds[..., 8] = 4, 7
    ids, most = flood(given, seeds, mask=0.5)
    assert ids[0, 0, :5].tolist() == [4] * 5
    assert ids[0, 0, 6:].tolist() == [7] * 3
    assert most == 7


def test_a_piece_of_the_mask_without_a_seed_is_an_object_of_its_own():
    given = probabilities([255, 255, 0, 255, 255, 0, 255], [0] * 7, [0] * 7)
    seeds = np.zeros((1, 1, 7), np.uint32)
    seeds[..., 0] = 3
    assert flood(given, seeds, mask=0.5)[0].ravel().tolist() == [3, 3, 0, 4, 4, 0, 5]


def test_a_seed_outside_the_mask_and_an_empty_mask_give_nothing():
    given = probabilities([0] * 3, [0] * 3, [255] * 3)
    ids, _ = flood(given, np.ones((1, 1, 3), np.uint32), mask=0.5)
    assert not ids.any()


@pytest.mark.parametrize("radius", [np.inf, 9])
def test_the_flood_is_that_of_scikit_image(radius):
    given = seen(cells((32, 48, 48), 40, radius=radius), head_of(BCD), blur=1.0)
    thresholds = Thresholds(seed_mask=0.5, seed_contour=0.5)
    seeds = components(seeds_of(given, thresholds), smallest=10)
    ours, most = flood(given, seeds, mask=0.5)
    height = given[1].astype(float) - given[2]
    theirs = watershed(height, seeds.astype(int), mask=given[0] > 128, connectivity=1)
    seeded = (ours > 0) & (ours <= most)
    assert seeded.mean() > 0.3
    assert ((ours > most) == ((theirs == 0) & (given[0] > 128))).all()
    assert (ours == theirs)[seeded].mean() > 0.99  # ways of equal height may be taken either way
