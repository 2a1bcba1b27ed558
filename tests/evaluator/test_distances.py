"""Distances of all pairs at once equal those of the definition, pair by pair."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion, distance_transform_edt

from evaluator import distances, windows
from evaluator.distances import measure, nearest_offsets
from evaluator.matching import Pairs, match
from evaluator.objects import Objects, find_objects
from evaluator.windows import Pairing
from tests.evaluator.shapes import boxes

SIZES = [(1.0, 1.0, 1.0), (40.0, 4.0, 4.0), (1.74, 2.0, 2.0), (3.0, 8.0, 1.0)]
SHAPE = (6, 7, 8)
IDS = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 1, 2, 3]))


def objects_of(truth: np.ndarray, pred: np.ndarray) -> Objects:
    """Objects by id; the far corner makes sure that no prediction is a mask."""
    slabs = ((z, truth[z : z + 2], pred[z : z + 2]) for z in range(0, len(truth), 2))
    return find_objects(slabs, truth.shape, components=False)


def matched(objects: Objects) -> tuple[Pairing, list[tuple[int, int]]]:
    """Matched objects, and the ids of each pair in the order of the pairs' numbers."""
    pairs = match(Pairs(*objects.overlap.pairs()))
    truth, pred = np.zeros(objects.truth.count + 1, int), np.zeros(objects.pred.count + 1, int)
    truth[pairs.truth] = pred[pairs.pred] = np.arange(1, len(pairs) + 1)
    ids = zip(objects.truth.ids[pairs.truth - 1], objects.pred.ids[pairs.pred - 1], strict=True)
    return Pairing(objects, truth, pred, len(pairs)), [(int(t), int(p)) for t, p in ids]


def with_ids(pred: np.ndarray) -> np.ndarray:
    pred = pred.copy()
    pred[-1, -1, -2:] = (8, 9)
    return pred


def hausdorff(truth: np.ndarray, pred: np.ndarray, size: tuple[float, ...]) -> float:
    to_truth = distance_transform_edt(~truth, sampling=size)
    to_pred = distance_transform_edt(~pred, sampling=size)
    return float(max(to_truth[pred].max(), to_pred[truth].max()))


def surface_distance(truth: np.ndarray, pred: np.ndarray, size: tuple[float, ...]) -> float:
    """The definition over the whole volume; beyond it there is background."""
    sides = [mask & ~binary_erosion(mask, border_value=0) for mask in (truth, pred)]
    total = 0.0
    for own, other in (sides, sides[::-1]):
        total += distance_transform_edt(~other, sampling=size)[own].sum()
    return total / sum(int(side.sum()) for side in sides)


def check(truth: np.ndarray, pred: np.ndarray, size: tuple[float, ...], cap=math.inf) -> None:
    pairing, ids = matched(objects_of(truth, pred))
    found = measure(pairing, size, cap=cap, surfaces=True)
    for (t, p), far, mean in zip(ids, found.hausdorff, found.surface, strict=True):
        expected = min(cap, hausdorff(truth == t, pred == p, size))
        assert far == pytest.approx(expected, rel=1e-12)
        assert mean == pytest.approx(surface_distance(truth == t, pred == p, size), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(truth=IDS, pred=IDS, size=st.sampled_from(SIZES))
def test_distances_of_noise_equal_the_transform_over_the_whole_volume(truth, pred, size):
    check(truth, with_ids(pred), size)


@settings(max_examples=30, deadline=None)
@given(truth=IDS, pred=IDS, cap=st.sampled_from([0.5, 1.0, 2.0, 3.3]))
def test_distances_end_at_the_cap(truth, pred, cap):
    check(truth, with_ids(pred), (1.0, 1.0, 1.0), cap=cap)


def blobs(seed: int, *, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Balls, and the same moved and grown; far enough from each other to be told apart."""
    rng = np.random.default_rng(seed)
    shape = (30, 34, 38)
    truth, pred = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    grid = np.stack(np.mgrid[: shape[0], : shape[1], : shape[2]], axis=-1)
    for number, centre in enumerate(rng.uniform(4, 30, (9, 3)), start=1):
        radius = rng.uniform(2, 6)
        truth[((grid - centre) ** 2).sum(axis=-1) < radius**2] = number
        moved, grown = centre + rng.normal(0, jitter, 3), radius + rng.normal(0, jitter)
        pred[((grid - moved) ** 2).sum(axis=-1) < grown**2] = 100 + number
    return truth, pred


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("jitter", [0.3, 1.0, 3.0], ids=["near", "off", "far"])
def test_distances_of_blobs_equal_the_transform(size, jitter):
    for seed in range(3):
        check(*blobs(seed, jitter=jitter), size)


@pytest.mark.parametrize("voxels", [1, 5_000, 1 << 30])
def test_the_size_of_windows_changes_no_bit(monkeypatch, voxels):
    pairing, _ = matched(objects_of(*blobs(5, jitter=1.0)))
    expected = measure(pairing, (1.74, 2.0, 2.0), cap=20.0, surfaces=True)
    monkeypatch.setattr(windows, "WINDOW_VOXELS", voxels)
    found = measure(pairing, (1.74, 2.0, 2.0), cap=20.0, surfaces=True)
    assert found.hausdorff.tolist() == expected.hausdorff.tolist()
    assert found.surface.tolist() == expected.surface.tolist()


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_how_far_is_looked_changes_no_distance(monkeypatch, reach):
    pairing, _ = matched(objects_of(*blobs(6, jitter=2.0)))
    expected = measure(pairing, (1.74, 2.0, 2.0), cap=20.0, surfaces=True)
    monkeypatch.setattr(distances, "REACH", reach)
    found = measure(pairing, (1.74, 2.0, 2.0), cap=20.0, surfaces=True)
    assert found.hausdorff == pytest.approx(expected.hausdorff, rel=1e-13)
    assert found.surface == pytest.approx(expected.surface, rel=1e-13)


def test_equal_objects_are_at_no_distance():
    truth = boxes(((0, 0, 0), (4, 4, 4)), ((5, 5, 5), (9, 9, 9)))
    pairing, _ = matched(objects_of(truth, truth))
    found = measure(pairing, (4.0, 4.0, 4.0), cap=100.0, surfaces=True)
    assert found.hausdorff.tolist() == found.surface.tolist() == [0.0, 0.0]


def test_a_shifted_box_by_hand():
    # One voxel along X: the two outer faces of 4 voxels are at 1; the rest of the surface is 0
    # but for what lies inside the other: 2 x 2 x 2 boxes are all surface.
    truth, pred = boxes(((2, 2, 2), (4, 4, 4))), boxes(((2, 2, 3), (4, 4, 5)))
    pairing, _ = matched(objects_of(truth, with_ids(pred)))
    found = measure(pairing, (40.0, 4.0, 8.0), cap=1000.0, surfaces=True)
    assert found.hausdorff.tolist() == [8.0]
    assert found.surface.tolist() == [(4 * 8.0 + 4 * 8.0) / 16]


def test_surfaces_are_worked_out_only_if_asked_for():
    truth = boxes(((0, 0, 0), (4, 4, 4)))
    pairing, _ = matched(objects_of(truth, with_ids(truth)))
    assert measure(pairing, (1.0, 1.0, 1.0), cap=9.0).surface.size == 0


def test_without_pairs_there_are_no_distances():
    empty = np.zeros((3, 3, 3), np.uint8)
    pairing, _ = matched(objects_of(empty, empty))
    found = measure(pairing, (1.0, 1.0, 1.0), cap=9.0, surfaces=True)
    assert (found.hausdorff.size, found.surface.size) == (0, 0)


def test_two_predicted_objects_of_one_pair_count_as_one():
    truth = boxes(((0, 0, 0), (2, 2, 2)))
    pred = boxes(((0, 0, 0), (2, 2, 2)), ((0, 0, 9), (1, 1, 10)))
    objects = objects_of(truth, pred)
    both = Pairing(objects, np.array([0, 1]), np.array([0, 1, 1]), 1)
    assert measure(both, (1.0, 1.0, 1.0), cap=50.0).hausdorff.tolist() == [8.0]
    one = Pairing(objects, np.array([0, 1]), np.array([0, 1, 0]), 1)
    assert measure(one, (1.0, 1.0, 1.0), cap=50.0).hausdorff.tolist() == [0.0]


@pytest.mark.parametrize("size", [*SIZES, (0.1, 100.0, 3.0)])
def test_no_offset_is_left_out_that_is_as_near_as_the_farthest(size):
    shells = nearest_offsets(size)
    distances_nm = [distance for distance, _ in shells]
    assert distances_nm == sorted(set(distances_nm))
    known = {tuple(offset) for _, offsets in shells for offset in offsets.tolist()}
    assert (0, 0, 0) not in known
    reach = [math.ceil(distances_nm[-1] / s) + 1 for s in size]
    for z in range(-min(reach[0], 9), min(reach[0], 9) + 1):
        for y in range(-min(reach[1], 9), min(reach[1], 9) + 1):
            for x in range(-min(reach[2], 9), min(reach[2], 9) + 1):
                far = math.sqrt((z * size[0]) ** 2 + (y * size[1]) ** 2 + (x * size[2]) ** 2)
                assert (z, y, x) in known or far == 0 or far > distances_nm[-1]


@pytest.mark.parametrize("sparse", [0, 1, 64, 10**9])
def test_objects_may_be_listed_voxel_by_voxel(monkeypatch, sparse):
    """0: all are, in any box."""
    rng = np.random.default_rng(8)
    truth, pred = blobs(7, jitter=3.0)
    dust = np.where(rng.random(truth.shape) < 0.02, rng.integers(50, 60, truth.shape), 0)
    for other in (pred, dust, np.where(dust > 0, dust, pred)):
        pairing, _ = matched(objects_of(truth, with_ids(other.astype(np.uint16))))
        expected = measure(pairing, (1.74, 2.0, 2.0), cap=25.0, surfaces=True)
        monkeypatch.setattr(windows, "SPARSE", sparse)
        found = measure(pairing, (1.74, 2.0, 2.0), cap=25.0, surfaces=True)
        assert found.hausdorff == pytest.approx(expected.hausdorff, rel=1e-13)
        assert found.surface == pytest.approx(expected.surface, rel=1e-13)
        monkeypatch.undo()
    check(truth, with_ids(dust.astype(np.uint16)), (1.74, 2.0, 2.0))
