"""Targets against brute force, and what they must not depend on."""

import functools
import itertools

import numpy as np
import pytest
import torch

from baselines.objects.heads import (
    AFFINITY,
    BCD,
    COMPONENTS,
    SEMANTIC,
    Head,
    Heads,
    affinity_offsets,
)
from baselines.objects.targets import (
    FAR,
    by_lines,
    by_steps,
    contours,
    distances,
    make_targets,
    numbered,
)

SIZE = (16.0, 8.0, 8.0)


def head(representation, **settings):
    offsets = affinity_offsets(SIZE) if representation == AFFINITY else ()
    return Head("mito", representation, SIZE, offsets=offsets, **settings)


def blobs(seed=0, shape=(6, 14, 15), objects=5):
    """Ids of some touching objects, and background: the nearest of random points."""
    random = np.random.default_rng(seed)
    points = random.uniform(0, shape, (objects + 2, 3))
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    nearest = np.linalg.norm(grid[..., None, :] - points, axis=-1).argmin(-1)
    return np.where(nearest < objects, nearest + 1, 0)


def tensors(ids, known=None):
    ids = torch.from_numpy(np.ascontiguousarray(ids))[None, None].int()
    known = torch.ones_like(ids, dtype=torch.bool) if known is None else known
    return ids, known


def targets(ids, one, known=None):
    target, weight = make_targets(*tensors(ids, known), Heads((one,)))
    assert target.dtype == weight.dtype == torch.float32
    return target[0].numpy(), weight[0].numpy()


def test_a_semantic_label_is_its_mask():
    ids = blobs()
    target, weight = targets(ids, head(SEMANTIC))
    np.testing.assert_array_equal(target[0], ids > 0)
    assert weight.all()


def test_the_contour_is_both_sides_of_every_border():
    ids = blobs()
    expected = np.zeros(ids.shape, bool)
    for place in np.ndindex(ids.shape):
        for axis, step in itertools.product(range(3), (-1, 1)):
            other = list(place)
            other[axis] += step
            if 0 <= other[axis] < ids.shape[axis]:
                expected[place] |= ids[place] != ids[tuple(other)]
    target, _ = targets(ids, head(BCD))
    np.testing.assert_array_equal(target[1], expected)


@pytest.mark.parametrize("way", [by_lines, by_steps])
@pytest.mark.parametrize("planar", [False, True])
def test_the_distance_is_that_to_the_nearest_voxel_of_another_id(way, planar):
    ids = blobs(seed=3)
    voxels = np.argwhere(np.ones_like(ids, bool))
    expected = np.full(ids.shape, FAR * 8.0)
    for place in np.ndindex(ids.shape):
        other = ids[tuple(voxels.T)] != ids[place]
        if planar:
            other &= voxels[:, 0] == place[0]
        if other.any():
            nearest = np.linalg.norm((voxels[other] - place) * SIZE, axis=1).min()
            expected[place] = min(nearest, FAR * 8.0)
    one, known = (tensor[0] for tensor in tensors(ids))
    found = way(one, known, head(BCD, planar=planar))[0]
    np.testing.assert_allclose(found, expected * (ids > 0), rtol=1e-5)


def test_distances_are_those_over_the_deepest_of_each_object():
    ids = blobs(seed=3)
    one, known = (tensor[0] for tensor in tensors(ids))
    depth = by_lines(one, known, head(BCD))[0].numpy()
    target, _ = targets(ids, head(BCD))
    for number in range(1, 6):
        inside = ids == number
        np.testing.assert_allclose(target[2][inside], depth[inside] / depth[inside].max())
    assert not target[2][ids == 0].any()


def test_what_is_deeper_than_the_limit_is_at_the_middle():
    ids = np.ones((1, 1, 4 * FAR), int)
    ids[..., 0] = 2
    found = targets(ids, head(BCD))[0][2][0, 0]
    assert found[FAR] == found[-1] == 1
    np.testing.assert_allclose(found[1 : FAR + 1], np.arange(1, FAR + 1) / FAR, atol=1e-6)


def test_an_affinity_says_whether_both_voxels_are_of_one_object():
    ids = blobs()
    one = head(AFFINITY)
    target, weight = targets(ids, one)
    np.testing.assert_array_equal(target[0], ids > 0)
    for channel, offset in enumerate(one.offsets, start=1):
        for place in np.ndindex(ids.shape):
            other = tuple(a + o for a, o in zip(place, offset, strict=True))
            inside = all(0 <= a < n for a, n in zip(other, ids.shape, strict=True))
            both = {int(ids[place]), int(ids[other])} if inside else {0}
            assert weight[channel][place] == (both != {0})
            assert target[channel][place] == (len(both) == 1 and both != {0})


def moved(a, steps, turned):
    a = a[(..., *(slice(None, None, step) for step in steps))]
    return np.swapaxes(a, -1, -2) if turned else a


# Every way to mirror a picture and to turn it in the plane, where voxels are squares.
MOVES = [
    functools.partial(moved, steps=steps, turned=turned)
    for steps in itertools.product((1, -1), repeat=3) for turned in (False, True)
]  # fmt: skip


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("one", [head(SEMANTIC), head(COMPONENTS, shrink=1), head(BCD)])
def test_targets_turn_with_the_picture(move, one):
    ids = blobs(seed=1)
    np.testing.assert_allclose(targets(move(ids), one)[0], move(targets(ids, one)[0]), atol=1e-6)


def joined(ids, move):
    """What affinities say of each pair of voxels that they look at, in a moved picture."""
    one = head(AFFINITY)
    numbers = move(np.arange(ids.size).reshape(ids.shape))
    target, weight = targets(move(ids), one)
    said = {}
    for channel, offset in enumerate(one.offsets, start=1):
        for place in np.ndindex(numbers.shape):
            other = tuple(a + o for a, o in zip(place, offset, strict=True))
            if all(0 <= a < n for a, n in zip(other, numbers.shape, strict=True)):
                pair = frozenset((int(numbers[place]), int(numbers[other])))
                said[pair] = (target[channel][place], weight[channel][place])
    return said


def test_affinities_say_the_same_of_every_pair_however_the_picture_is_turned():
    ids = blobs(seed=1, shape=(6, 11, 12))
    plain = joined(ids, lambda a: a)
    assert {said for said, weight in plain.values() if weight} == {0, 1}
    for move in MOVES:
        assert joined(ids, move) == plain


def test_components_have_a_gap_where_objects_touch_and_nowhere_else():
    ids = np.array([[[0, 1, 1, 1, 2, 2, 2, 0, 3, 3]]])
    expected = [[[0, 1, 1, 0, 0, 1, 1, 0, 1, 1]]]
    np.testing.assert_array_equal(targets(ids, head(COMPONENTS))[0][0], expected)
    layers = np.ones((2, 4, 4), int)
    layers[1] = 2
    assert not targets(layers, head(COMPONENTS))[0].any()
    assert targets(layers, head(COMPONENTS, planar=True))[0].all()


def test_shrinking_takes_voxels_off_within_the_plane_only():
    ids = np.zeros((2, 7, 7), int)
    ids[:, 1:6, 1:6] = 1
    shrunk = targets(ids, head(COMPONENTS, shrink=1))[0][0]
    assert shrunk.sum() == 2 * 3 * 3
    assert shrunk[0, 2:5, 2:5].all()


def test_what_nobody_annotated_has_no_weight_and_makes_no_border():
    ids = np.zeros((1, 8, 8), int)
    ids[:, :, :4] = 1
    known = torch.zeros((1, 1, 1, 8, 8), dtype=torch.bool)
    known[..., :4] = True
    target, weight = targets(ids, head(BCD), known)
    assert not weight[..., 4:].any()
    assert weight[[0, 2], 0, :, 3].all()
    assert not weight[1, 0, :, 3].any()  # a contour may or may not be there
    assert (target[2, 0, :, :4] == 1).all()  # as deep as can be: no border is known
    _, weight = targets(ids, head(AFFINITY), known)
    assert not weight[..., 4:].any()


def test_the_same_id_in_another_patch_is_another_object():
    thin, thick = np.zeros((1, 9, 9), int), np.zeros((1, 9, 9), int)
    thin[:, 4], thick[:, 2:7] = 1, 1
    ids = torch.from_numpy(np.stack([thin, thick]))
    known = torch.ones_like(ids, dtype=torch.bool)
    together = distances(ids, known, head(BCD))
    assert together[0].max() == together[1].max() == 1
    alone = distances(ids[:1], known[:1], head(BCD))
    assert torch.equal(together[:1], alone)


def test_planes_alone_have_no_contour_between_them():
    ids = torch.ones((1, 2, 4, 4), dtype=torch.int32)
    ids[:, 1] = 2
    assert contours(ids, (0, 1, 2)).all()
    assert not contours(ids, (1, 2)).any()


def test_nothing_there_is_a_target_of_zeros():
    for one in (head(COMPONENTS), head(BCD), head(AFFINITY)):
        target, _ = targets(np.zeros((1, 4, 4), int), one)
        assert not target.any()


def test_objects_are_numbered_in_the_order_of_their_ids():
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 9, (2, 3, 4, 5)) * 1_000_000_007)
    expected = torch.unique(ids, return_inverse=True)[1]
    torch.testing.assert_close(numbered(ids), expected)
    assert numbered(torch.zeros(1, 1, 1, 1, dtype=torch.long)).tolist() == [[[[0]]]]
