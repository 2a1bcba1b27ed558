import mwatershed
import numpy as np
import pytest

from baselines.objects.agreement import panoptic_quality
from baselines.objects.heads import AFFINITY
from baselines.objects.mutex import mutex_watershed, planes_joined
from benchmarks.cells import CUBE, cells, head_of, seen

HEAD = head_of(AFFINITY)


def decode(probabilities, head=HEAD, *, mask=0.5, bias=0.5, **settings):
    return mutex_watershed(
        probabilities, head.offsets, head.voxel_size, mask=mask, bias=bias, **settings
    )


@pytest.mark.parametrize("seed", range(10))
def test_objects_are_those_of_mwatershed(seed):
    """On affinities of which no two are equally strong, so that there is one right answer."""
    offsets = [(0, -1, 0), (0, 0, -1), (0, -2, 0), (0, 0, -3)]
    strengths = np.random.default_rng(seed).permutation(254)[: 4 * 42].reshape(4, 1, 6, 7) + 1
    weights = strengths.astype(np.float64)
    weights[2:] *= -1  # there, what parts is negative
    theirs = mwatershed.agglom(weights, [list(offset) for offset in offsets])
    # It gives 0 to voxels that nothing joins.
    theirs = np.where(theirs == 0, 1000 + np.arange(42).reshape(theirs.shape), theirs)
    given = np.full((5, 1, 6, 7), 255, np.uint8)
    given[1:3], given[3:] = strengths[:2], 255 - strengths[2:]
    ours = mutex_watershed(given, offsets, CUBE, mask=0.5, bias=0.5, planar=True, stride=1)
    assert 1 < ours.max() < 42
    assert panoptic_quality(theirs, ours) == pytest.approx(1)


def test_every_eighth_far_affinity_is_enough():
    ids = cells((32, 40, 40), 30)
    given = seen(ids, HEAD, noise=0.1, blur=0.5)
    all_of_them, some = (panoptic_quality(ids, decode(given, stride=n)) for n in (1, 2))
    assert some >= all_of_them - 0.01


def test_dense_cells_are_found_without_any_gap_between_them():
    ids = cells((32, 40, 40), 30)
    found = decode(seen(ids, HEAD))
    assert (found > 0).all()
    assert panoptic_quality(ids, found) > 0.98


def test_bias_parts_or_joins():
    given = seen(cells((16, 32, 32), 20), HEAD, noise=0.25, blur=0.7)
    counts = [decode(given, bias=bias).max() for bias in (0.1, 0.5, 0.9)]
    assert counts[0] < counts[1] < counts[2]


def test_nothing_outside_the_mask_belongs_to_an_object():
    ids = cells((16, 24, 24), 10, radius=7)
    given = seen(ids, HEAD)
    assert not decode(given)[given[0] <= 128].any()
    assert not decode(np.zeros_like(given)).any()
    assert decode(np.zeros_like(given)).dtype == np.uint32


def test_objects_of_planes_that_mostly_overlap_are_one():
    ids = np.zeros((3, 4, 8), np.uint32)
    ids[0, :, :4], ids[0, :, 4:] = 1, 2
    ids[1, :, :3], ids[1, :, 3:] = 3, 4
    ids[2, :, 3:5] = 5  # lies on a part of the large one only
    found = planes_joined(ids)
    assert found[0, 0, 0] == found[1, 0, 0] != found[0, 0, 7] == found[1, 0, 7]
    assert found[2, 0, 3] not in found[1]
    assert found.max() == 3


def test_a_network_of_planes_makes_objects_of_volumes():
    head = head_of(AFFINITY, planar=True)
    ids = np.repeat(cells((1, 32, 32), 8), 4, axis=0)
    found = decode(seen(ids, head), head, planar=True)
    assert panoptic_quality(ids, found) > 0.98


def test_coarse_sections_lose_no_far_affinity():
    size = (40.0, 4.0, 4.0)
    head = head_of(AFFINITY, size)
    assert size != CUBE
    ids = np.repeat(cells((1, 40, 40), 8), 6, axis=0)
    assert panoptic_quality(ids, decode(seen(ids, head), head)) > 0.98
