"""Volumes read together in slabs: every plane once, in order, with the mask applied."""

import numpy as np
import pytest

from evaluator import Unreadable, slabs
from evaluator.slabs import Pair, read_slabs
from evaluator.volume import ArrayPlanes

SHAPE = (11, 3, 4)


class Chunked:
    """Planes of an array that tell how thick their chunks are, and remember what was asked."""

    order = "C"

    def __init__(self, array: np.ndarray, depth: int | None) -> None:
        self.array, self.asked = array, []
        self.shape, self.dtype = array.shape, array.dtype
        if depth is not None:
            self.depth = depth

    def planes(self, start: int, stop: int) -> np.ndarray:
        self.asked.append((start, stop))
        return self.array[start:stop]


def numbers(dtype="int32") -> np.ndarray:
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)


@pytest.mark.parametrize("voxels", [1, 12, 25, 36, 10_000])
@pytest.mark.parametrize("depths", [(1, 1), (4, 1), (4, 3), (64, 5), (None, 2)])
def test_slabs_are_the_volume_whatever_their_size_and_that_of_chunks(monkeypatch, voxels, depths):
    monkeypatch.setattr(slabs, "SLAB_VOXELS", voxels)
    one, two = Chunked(numbers(), depths[0]), Chunked(-numbers(), depths[1])
    read = list(read_slabs((one, two)))
    assert [first for first, _ in read] == np.cumsum([0, *(len(a) for _, (a, _) in read)])[
        :-1
    ].tolist()
    for side, volume in enumerate((one, two)):
        assert np.array_equal(np.concatenate([arrays[side] for _, arrays in read]), volume.array)


@pytest.mark.parametrize("depth", [1, 3, 4, 64, None])
def test_no_plane_is_read_twice_and_no_chunk_is_cut(monkeypatch, depth):
    monkeypatch.setattr(slabs, "SLAB_VOXELS", 24)  # two planes
    volume = Chunked(numbers(), depth)
    list(read_slabs((volume,)))
    starts, stops = zip(*volume.asked, strict=True)
    assert starts[0] == 0
    assert stops[-1] == SHAPE[0]
    assert list(starts[1:]) == list(stops[:-1])
    assert all(start % (depth or 64) == 0 for start in starts)


def test_a_slab_holds_no_more_voxels_than_it_may(monkeypatch):
    monkeypatch.setattr(slabs, "SLAB_VOXELS", 30)
    assert {len(a) for _, (a,) in read_slabs((Chunked(numbers(), 5),))} <= {1, 2}


def test_what_cannot_be_read_is_told_to_whoever_reads():
    class Damaged(Chunked):
        def planes(self, start, stop):
            raise Unreadable("a chunk is damaged")

    with pytest.raises(Unreadable, match="damaged"):
        list(read_slabs((Chunked(numbers(), 1), Damaged(numbers(), 1))))


def test_reading_may_stop_half_way(monkeypatch):
    monkeypatch.setattr(slabs, "SLAB_VOXELS", 1)
    volume = Chunked(numbers(), 1)
    for first, _ in read_slabs((volume,)):
        if first == 2:
            break
    assert len(volume.asked) <= 5  # and the reader is one layer ahead at most


def pair(truth, pred, mask=None, **options) -> tuple[np.ndarray, np.ndarray, Pair]:
    planes = [None if a is None else ArrayPlanes(np.asarray(a)) for a in (truth, pred, mask)]
    read = Pair(*planes, **options)
    parts = list(read)
    return np.concatenate([t for _, t, _ in parts]), np.concatenate([p for _, _, p in parts]), read


def test_without_a_mask_both_stay_as_they_are():
    truth, pred, read = pair(numbers(), -numbers())
    assert np.array_equal(truth, numbers())
    assert np.array_equal(pred, -numbers())
    assert not read.scaled


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float32"])
def test_a_mask_keeps_a_voxel_or_drops_it(dtype):
    mask = (numbers() % 3 == 0).astype(dtype)
    truth, pred, read = pair(numbers("uint16"), numbers("float16"), mask * 200)
    assert truth.dtype == np.uint16
    assert np.array_equal(truth, np.where(mask, numbers(), 0))
    assert np.array_equal(pred, np.where(mask, numbers(), 0))
    assert not read.scaled


def test_what_a_mask_drops_is_background_even_if_it_is_no_number():
    pred = np.full(SHAPE, np.nan, np.float32)
    assert not pair(numbers(), pred, np.zeros(SHAPE, np.uint8))[1].any()


def test_a_mask_that_is_multiplied_wraps_ids_around_as_numpy_does():
    ids = np.full(SHAPE, 3, np.uint8)
    truth, pred, read = pair(
        ids, ids.astype(np.uint16), np.full(SHAPE, 255, np.uint8), factors=True
    )
    assert set(truth.ravel().tolist()) == {3 * 255 % 256}
    assert set(pred.ravel().tolist()) == {3 * 255}
    assert read.scaled


@pytest.mark.parametrize("mask", [np.ones(SHAPE, bool), np.zeros(SHAPE, np.uint8)])
def test_factors_of_0_and_1_are_no_news(mask):
    truth, _, read = pair(numbers(), numbers(), mask, factors=True)
    assert np.array_equal(truth, numbers() * mask)
    assert not read.scaled


def test_infinity_times_nothing_is_no_warning():
    pred = np.full(SHAPE, np.inf, np.float32)
    assert np.isnan(pair(numbers(), pred, np.zeros(SHAPE, np.uint8), factors=True)[1]).all()
