import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from baselines.box import Box
from baselines.config import PredictionConfig
from baselines.predicting.blockwise import predict_box, stream
from baselines.predicting.predictors import predictor_of
from baselines.predicting.tiling import Tiling, axis_weights, plan_tiling, tile_starts
from baselines.volumes.light import Light
from baselines.volumes.readers import InMemory

AS_IT_IS = Light(0.0, 1.0)


def network(channels=1):
    """Two convolutions, which see two voxels far."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.SiLU(), nn.Conv3d(4, channels, 3, padding=1)
    )  # fmt: skip


@st.composite
def tilings(draw):
    sizes = st.integers(1, 20)
    shape, tile, block = ((draw(sizes), draw(sizes), draw(sizes)) for _ in range(3))
    overlap = tuple(draw(st.integers(0, n // 2)) for n in tile)
    return Tiling(shape, tile, overlap, block)


def run(tiling, raw, predictor=lambda x: x, box=None):
    box = box or Box((0, 0, 0), tiling.shape)
    return predict_box(
        predictor, InMemory(raw), AS_IT_IS, box=box, tiling=tiling, channels=1, batch=3
    )[0]


@settings(max_examples=200, deadline=None)
@given(tilings())
def test_every_voxel_is_predicted_whatever_the_sizes(tiling):
    raw = np.random.default_rng(0).random(tiling.shape).astype(np.float32)
    out = np.full(tiling.shape, np.nan, np.float32)
    for block in tiling.blocks():
        out[block.slices] = run(tiling, raw, box=block)
    np.testing.assert_allclose(out, raw, rtol=0, atol=1e-6)  # the identity comes back as it was


@pytest.mark.parametrize(("size", "tile"), [(64, 32), (96, 32), (128, 32), (200, 64), (400, 128)])
def test_volumes_that_are_no_multiple_of_what_tiles_add_are_predicted_to_their_edges(size, tile):
    """Sizes for which a writer that keeps whole tiles only leaves most voxels empty."""
    shape = (3, size, size)
    tiling = plan_tiling(
        shape, PredictionConfig(tile=(1, tile, tile), overlap=(0, tile // 4, tile // 4)), (1, 8, 8)
    )
    times = np.zeros(shape, np.uint8)
    raw = np.random.default_rng(0).random(shape).astype(np.float32)
    out = np.full(shape, np.nan, np.float32)
    for block in tiling.blocks():
        times[block.slices] += 1
        out[block.slices] = run(tiling, raw, box=block)
    assert (times == 1).all()
    np.testing.assert_allclose(out, raw, rtol=0, atol=1e-6)


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 32))
def test_tiles_leave_no_gap_and_stay_inside(n, tile, overlap):
    starts = tile_starts(n, tile, min(overlap, tile // 2))
    covered = np.zeros(max(n, tile), bool)
    for start in starts:
        assert start == 0 or start + tile <= n
        covered[start : start + tile] = True
    assert covered[:n].all()
    assert len(set(starts)) == len(starts)


def test_a_voxel_does_not_depend_on_the_block_it_is_computed_in():
    predictor = predictor_of(network(), device=torch.device("cpu"), bf16=False)
    raw = np.random.default_rng(1).normal(size=(10, 40, 40)).astype(np.float32)
    whole = Tiling(raw.shape, (4, 16, 16), (2, 4, 4), raw.shape)
    parts = Tiling(raw.shape, (4, 16, 16), (2, 4, 4), (3, 11, 40))
    expected = run(whole, raw, predictor)
    for block in parts.blocks():
        found = run(parts, raw, predictor, box=block)
        np.testing.assert_allclose(found, expected[block.slices], atol=1e-5)


def test_where_tiles_overlap_they_blend():
    tiling = Tiling((1, 1, 12), (1, 1, 8), (0, 0, 4), (1, 1, 12))
    seen = []

    def numbered(raw):
        seen.extend(range(len(raw)))
        return torch.arange(len(raw)).reshape(-1, 1, 1, 1, 1).expand(raw.shape).float()

    found = run(tiling, np.zeros((1, 1, 12), np.float32), numbered)[0, 0]
    assert len(seen) == 2
    assert (found[:4] == 0).all()
    assert (found[8:] == 1).all()
    assert (np.diff(found[3:9]) > 0).all()


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 32))
def test_weights_are_above_zero_and_those_over_a_voxel_add_up_to_one(n, tile, overlap):
    total = np.zeros(max(n, tile))
    for start, weight in axis_weights(n, tile, min(overlap, tile // 2)).items():
        assert weight.shape == (tile,)
        assert weight.min() > 0
        total[start : start + tile] += weight
    np.testing.assert_allclose(total[:n], 1, atol=1e-6)


def test_a_tile_counts_by_a_gaussian_with_a_deviation_of_an_eighth_of_it():
    first, second = axis_weights(24, 16, 8).values()
    # Voxel 10 lies 2.5 from the middle of the first tile and 5.5 from that of the second, and a
    # deviation is 2 voxels: the quotient of the bells is exp((2.5² - 5.5²) / 8).
    assert second[2] / first[10] == pytest.approx(np.exp((2.5**2 - 5.5**2) / 8), rel=1e-5)


def test_tiles_are_no_larger_than_the_volume_needs():
    config = PredictionConfig(tile=(32, 256, 256), overlap=(8, 64, 64), block=(64, 512, 512))
    tiling = plan_tiling((10, 100, 1000), config, (4, 8, 8))
    assert tiling.tile == (12, 104, 256)
    assert tiling.overlap == (6, 52, 64)


def test_a_tile_that_fits_no_multiple_is_made_smaller():
    config = PredictionConfig(tile=(1, 250, 250), overlap=(0, 0, 0))
    assert plan_tiling((3, 500, 500), config, (1, 16, 16)).tile == (1, 240, 240)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7)])
def test_a_volume_smaller_than_the_network_wants_is_predicted(shape):
    predictor = predictor_of(network(), device=torch.device("cpu"), bf16=False)
    tiling = plan_tiling(shape, PredictionConfig(tile=(8, 32, 32)), (2, 8, 8))
    assert tiling.tile == tuple(-(-n // m) * m for n, m in zip(shape, (2, 8, 8), strict=True))
    found = run(tiling, np.zeros(shape, np.float32), predictor)
    assert found.shape == shape
    assert ((found > 0) & (found < 1)).all()


def test_tiles_are_handed_over_in_batches_of_the_size_asked_for():
    sizes = []

    def counting(raw):
        sizes.append(len(raw))
        return raw

    tiling = Tiling((4, 16, 16), (1, 8, 8), (0, 0, 0), (4, 16, 16))
    run(tiling, np.zeros((4, 16, 16), np.float32), counting)
    assert sizes == [3, 3, 3, 3, 3, 1]  # 4 x 2 x 2 tiles


def test_raw_is_normalised_before_the_network_sees_it():
    seen = []
    tiling = Tiling((1, 4, 4), (1, 4, 4), (0, 0, 0), (1, 4, 4))
    raw = InMemory(np.full((1, 4, 4), 150, np.uint8))
    predict_box(
        lambda x: seen.append(x) or x, raw, Light(100.0, 25.0), box=Box((0, 0, 0), (1, 4, 4)),
        tiling=tiling, channels=1, batch=1,
    )  # fmt: skip
    assert (seen[0] == 2.0).all()
    assert seen[0].dtype == torch.float32


class Counted:
    """A volume that notes what is read of it."""

    def __init__(self, shape):
        self.shape, self.boxes = shape, []

    def read(self, start, stop):
        self.boxes.append(Box(start, stop))
        return np.zeros(self.boxes[-1].shape, np.uint8)


def test_a_layer_of_chunks_is_read_at_a_time_and_never_more():
    volume = Counted((300, 40, 200))
    tiling = Tiling(volume.shape, (16, 16, 16), (4, 4, 4), (32, 40, 100))
    for column in (Box((0, 0, 0), (300, 40, 100)), Box((0, 0, 100), (300, 40, 200))):
        list(stream(lambda x: x, volume, AS_IT_IS, box=column, tiling=tiling, channels=1, batch=4))
    assert max(box.shape[0] for box in volume.boxes) <= 64 + 16
    assert max(box.shape[2] for box in volume.boxes) < 100 + 2 * 16


def test_planes_are_read_once_however_many_tiles_see_them():
    volume = Counted((130, 64, 64))
    tiling = Tiling(volume.shape, (1, 16, 16), (0, 8, 8), (16, 64, 64))
    predict_box(
        lambda x: x, volume, AS_IT_IS, box=Box((0, 0, 0), volume.shape), tiling=tiling,
        channels=1, batch=8,
    )  # fmt: skip
    assert [(box.start[0], box.stop[0]) for box in volume.boxes] == [(0, 64), (64, 128), (128, 130)]


def test_along_z_no_tile_is_computed_twice_and_parts_come_in_order():
    shape = (100, 20, 20)
    tiling, seen = Tiling(shape, (8, 20, 20), (3, 0, 0), (16, 20, 20)), []
    parts = stream(
        lambda x: seen.append(len(x)) or x, Counted(shape), AS_IT_IS,
        box=Box((0, 0, 0), shape), tiling=tiling, channels=1, batch=3,
    )  # fmt: skip
    found = [(part.start[0], part.stop[0], tuple(p.shape)) for part, p in parts]
    assert found == [
        (z, min(z + 16, 100), (1, min(16, 100 - z), 20, 20)) for z in range(0, 100, 16)
    ]
    assert sum(seen) == len(tile_starts(100, 8, 3))


def test_a_network_of_context_sees_the_planes_beside_and_mirrored_ones_at_the_ends():
    raw = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((5, 4, 4), np.float32)
    seen = []

    def middle(x):
        seen.extend(x[:, 0, :, 0, 0].tolist())
        return x[:, :, 1:-1]

    tiling = Tiling(raw.shape, (1, 4, 4), (0, 0, 0), (2, 4, 4), context=1)
    np.testing.assert_array_equal(run(tiling, raw, middle), raw)
    assert seen == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 4]]


def test_half_precision_predicts_nearly_the_same():
    model, raw = network(channels=2), torch.randn(1, 1, 4, 8, 8)
    full, half = (
        predictor_of(model, device=torch.device("cpu"), bf16=b)(raw) for b in (False, True)
    )
    assert half.dtype == torch.float32
    torch.testing.assert_close(full, half, atol=0.05, rtol=0.05)


def test_blocks_are_whole_chunks_and_grow_within_the_plane_as_memory_allows():
    config = PredictionConfig(
        tile=(1, 256, 256), overlap=(0, 64, 64), block=(16, 200, 500), memory_gb=1.0
    )
    shape = (50, 3000, 2000)
    assert plan_tiling(shape, config, (1, 8, 8)).block == (16, 256, 512)
    tiling = plan_tiling(shape, config, (1, 8, 8), channels=3)
    assert tiling.block == (16, 2048, 2048)  # 4 bytes x 3 channels x 17 planes: 0.86 GB
    assert tiling.chunks() == (16, 64, 64)
    assert plan_tiling(shape, config, (1, 8, 8), channels=300).block == (16, 256, 512)


@given(st.integers(1, 5000))
def test_no_chunk_belongs_to_two_blocks(n):
    config = PredictionConfig(tile=(1, 8, 8), overlap=(0, 0, 0), block=(n, n, n))
    tiling = plan_tiling((9000, 9000, 9000), config, (1, 8, 8))
    assert all(b % c == 0 for b, c in zip(tiling.block, tiling.chunks(), strict=True))
