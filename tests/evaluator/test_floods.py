"""Floods of objects, and objects as large as the volume: they cost what they are worth, no more."""

import tracemalloc

import numpy as np
import pytest

from evaluator import Counts, get_protocol, score_pair, slabs, windows
from evaluator.scoring import score_planes
from evaluator.volume import ArrayPlanes
from tests.evaluator.shapes import target

RULES = get_protocol("crista-1")
OFFICIAL = get_protocol("cellmap-2026.1")
SIDE = 96


@pytest.fixture
def blobs() -> np.ndarray:
    """Boxes of 8 voxels a side, 27 of them, apart from each other."""
    ids = np.zeros((12, 12, 12), np.uint16)
    ids[1::4, 1::4, 1::4] = np.arange(1, 28).reshape(3, 3, 3)
    return ids.repeat(8, axis=0).repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture
def small_slabs(monkeypatch):
    """Slabs that are small beside the volume, as they are beside a real one."""
    monkeypatch.setattr(slabs, "SLAB_VOXELS", 1 << 15)
    monkeypatch.setattr(windows, "WINDOW_VOXELS", 1 << 15)


def bytes_per_voxel(truth: np.ndarray, pred: np.ndarray, rules) -> float:
    """The peak beyond the arrays that are given."""
    tracemalloc.start()
    score_pair(target(shape=truth.shape), truth, pred, rules)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / truth.size


def checkerboard() -> np.ndarray:
    """Every second voxel along each axis is an object of its own."""
    pred = np.zeros((SIDE, SIDE, SIDE), np.uint32)
    pred[::2, ::2, ::2] = np.arange(1, (SIDE // 2) ** 3 + 1).reshape((SIDE // 2,) * 3)
    return pred


@pytest.mark.parametrize("rules", [RULES, OFFICIAL], ids=["sound", "official"])
def test_real_objects_need_a_byte_or_two_per_voxel(blobs, small_slabs, rules):
    assert bytes_per_voxel(blobs, np.roll(blobs, 1, axis=2), rules) < 4


@pytest.mark.usefixtures("small_slabs")
def test_every_second_voxel_an_object_is_scored_in_a_few_bytes_per_voxel(blobs):
    pred = checkerboard()
    sums = score_pair(target(shape=pred.shape), blobs, pred, RULES)
    assert sums.objects == Counts(tp=27, fp=(SIDE // 2) ** 3 - 27)
    assert sums.distances == (SIDE // 2) ** 3
    assert bytes_per_voxel(blobs, pred, RULES) < 16


@pytest.mark.usefixtures("small_slabs")
def test_every_voxel_an_object_is_scored_too(blobs):
    pred = np.arange(1, blobs.size + 1, dtype=np.uint32).reshape(blobs.shape)
    assert score_pair(target(shape=pred.shape), blobs, pred, RULES).objects.fp == blobs.size - 27
    assert bytes_per_voxel(blobs, pred, RULES) < 80


def test_ids_of_noise_are_scored(blobs):
    rng = np.random.default_rng(0)
    for dtype, most in (("uint8", 255), ("uint16", 60_000), ("uint64", 2**63)):
        pred = rng.integers(0, most, blobs.shape).astype(dtype)
        sums = score_pair(target(shape=pred.shape), blobs, pred, RULES)
        assert sums.objects.tp == 27
        assert sums.objects.fp == len(np.unique(pred[pred > 0])) - 27


def test_a_mask_of_noise_is_scored(blobs):
    pred = np.random.default_rng(1).random(blobs.shape) < 0.02
    found = score_planes(target(shape=blobs.shape), ArrayPlanes(blobs), ArrayPlanes(pred), OFFICIAL)
    assert found.quirks == {"skips_floods"}
    assert score_pair(target(shape=blobs.shape), blobs, pred, RULES).objects.tp == 27


@pytest.mark.parametrize("rules", [RULES, OFFICIAL], ids=["sound", "official"])
def test_an_object_as_large_as_the_volume_is_matched_to_one(blobs, rules):
    sums = score_pair(target(shape=blobs.shape), blobs, np.ones_like(blobs), rules)
    assert sums.objects == Counts(tp=1, fn=26)
    assert sums.distance_nm == 27 * SIDE / 2


def test_probabilities_that_are_all_different_are_skipped_officially():
    pred = np.random.default_rng(2).random((40, 40, 40)).astype(np.float32)
    truth = np.zeros(pred.shape, np.uint8)
    truth[3:9, 3:9, 3:9] = 1
    found = score_planes(target(shape=pred.shape), ArrayPlanes(truth), ArrayPlanes(pred), OFFICIAL)
    assert found.quirks == {"components", "skips_floods"} or found.quirks == {"skips_floods"}


def test_half_of_a_volume_against_all_of_it():
    truth = np.zeros((60, 60, 60), np.uint8)
    truth[:30] = 1
    sums = score_pair(target(shape=truth.shape), truth, np.ones_like(truth), RULES)
    assert sums.objects == Counts(tp=1)
    assert (sums.iou, sums.distance_nm) == (0.5, 30.0)
    assert 0 < sums.surface_nm < 30
