"""Objects of blocks against those of the whole volume."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from baselines.objects.agreement import panoptic_quality
from baselines.objects.decoding import Thresholds, objects_of
from baselines.objects.heads import AFFINITY, BCD, COMPONENTS
from baselines.objects.stitching import joins, stitch
from benchmarks.cells import cells, head_of, seen

LOW = Thresholds(seed_mask=0.5, seed_contour=0.5)


def stitched(given, head, **settings):
    out = zarr.create_array(zarr.storage.MemoryStore(), shape=given.shape[1:], dtype=np.uint32)
    count = stitch(lambda box: given[(slice(None), *box.slices)], out, head, LOW, **settings)
    found = np.asarray(out[:])
    assert np.unique(found[found > 0]).tolist() == list(range(1, count + 1))
    return found


def same(one, other):
    """Whether two segmentations differ by their numbers only."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return all(len(np.unique(side)) == pairs.shape[1] for side in pairs)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("block", [(7, 16, 11), (48, 5, 48)])
def test_components_are_exactly_those_of_the_whole_volume(seed, block):
    random = np.random.default_rng(seed)
    given = random.integers(0, 256, (1, 24, 30, 28)).astype(np.uint8)  # a maze at its threshold
    given[given < 175] //= 2
    head = head_of(COMPONENTS)
    whole = objects_of(given, head, LOW, smallest=3, fill_holes=False)
    assert whole.max() > 20
    assert same(stitched(given, head, smallest=3, fill_holes=False, block=block), whole)


def f1(truth, found):
    """Share of objects that are found again, IoU above one half."""
    pairs, both = np.unique(np.stack([truth.ravel(), found.ravel()]), axis=1, return_counts=True)
    sizes = [dict(zip(*np.unique(a, return_counts=True), strict=True)) for a in (truth, found)]
    hits = sum(
        n > 0.5 * (sizes[0][t] + sizes[1][p] - n)
        for t, p, n in zip(*pairs, both, strict=True) if t and p
    )  # fmt: skip
    return 2 * hits / (len(set(sizes[0]) - {0}) + len(set(sizes[1]) - {0}))


@pytest.mark.parametrize("radius", [np.inf, 11])
@pytest.mark.parametrize("representation", [BCD, AFFINITY])
def test_blocks_give_the_objects_of_the_whole_volume(representation, radius):
    given = seen(cells((64, 64, 72), 50, radius=radius), head := head_of(representation), blur=0.5)
    whole = objects_of(given, head, LOW, smallest=30)
    parts = stitched(given, head, smallest=30, block=(32, 32, 32), margin=12)
    assert f1(whole, parts) >= 0.99
    assert panoptic_quality(whole, parts) >= 0.97
    assert parts.max() == pytest.approx(whole.max(), abs=1)


def test_a_long_object_with_one_seed_far_away_keeps_its_id_through_all_blocks():
    """No margin reaches from its far end to its only seed."""
    given = np.zeros((3, 1, 8, 160), np.uint8)
    given[0, :, 2:6] = 255
    given[2, :, 2:6, 70:76] = 255
    found = stitched(given, head_of(BCD), block=(1, 8, 16), margin=4)
    assert (found[0, 2:6] == 1).all()


def test_seeds_that_hang_together_outside_a_block_are_one():
    """A horseshoe: within the upper blocks its legs are apart."""
    ids = np.zeros((8, 64, 40), np.uint32)
    ids[:, 4:60, 4:14] = ids[:, 4:60, 26:36] = ids[:, 50:60, 4:36] = 1
    head = head_of(BCD)
    given = seen(ids, head, noise=0)
    assert stitched(given, head, block=(8, 16, 40), margin=2).max() == 1


def test_seeded_objects_never_become_one_however_much_they_touch():
    found = joins(np.array([[1, 2], [3, 1], [3, 2], [4, 3]]), np.array([99, 5, 7, 1]), 2, 4)
    pairs = sorted(tuple(sorted(pair)) for part in found for pair in part.tolist())
    assert pairs[0][0] == 2  # the strays 3 and 4 go with 2, whose contact is larger
    assert pairs[0][1] in (3, 4)
    assert pairs[1:] == [(3, 4)]


def test_small_objects_count_as_a_whole_not_by_block():
    given = np.zeros((1, 4, 8, 8), np.uint8)
    given[:, :, 2:4, 1:7] = 255  # 48 voxels, in blocks of 16 or fewer
    given[:, 0, 6, 0] = 255
    found = stitched(given, head_of(COMPONENTS), smallest=40, block=(2, 4, 4))
    assert found[0, 2, 1] == 1
    assert found[0, 6, 0] == 0


def test_a_hole_that_blocks_share_is_filled_once():
    given = np.zeros((1, 12, 12, 12), np.uint8)
    given[:, 2:10, 2:10, 2:10] = 255
    given[:, 5:7, 5:7, 5:7] = 0
    found = stitched(given, head_of(COMPONENTS), block=(6, 6, 6))
    assert (found[2:10, 2:10, 2:10] == 1).all()
    assert not stitched(given, head_of(COMPONENTS), block=(6, 6, 6), fill_holes=False)[5, 5, 5]


def test_shrunk_objects_grow_once_across_blocks():
    ids = np.zeros((4, 20, 20), np.uint32)
    ids[:, 3:17, 2:9], ids[:, 3:17, 11:18] = 1, 2
    head = head_of(COMPONENTS)
    head = type(head)(**{**head.to_json(), "shrink": 2})
    given = seen(ids, head, noise=0)
    whole = objects_of(given, head, LOW)
    assert whole.max() == 2
    np.testing.assert_array_equal(stitched(given, head, block=(4, 7, 7), margin=4), whole)


@pytest.mark.parametrize("representation", [COMPONENTS, BCD, AFFINITY])
def test_nothing_seen_is_no_object_and_nothing_is_left_behind(representation, tmp_path):
    head = head_of(representation)
    nothing = np.zeros((len(head.channels), 4, 8, 8), np.uint8)
    assert not stitched(nothing, head, block=(4, 4, 4), scratch=tmp_path).any()
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("representation", [COMPONENTS, BCD, AFFINITY])
def test_no_more_than_a_block_and_its_margin_is_read_at_once(representation):
    head = head_of(representation)
    given = seen(cells((16, 24, 64), 12, radius=6), head)
    asked = []

    def read(box):
        asked.append(box.shape)
        return given[(slice(None), *box.slices)]

    out = zarr.create_array(zarr.storage.MemoryStore(), shape=given.shape[1:], dtype=np.uint32)
    stitch(read, out, head, LOW, block=(8, 8, 16), margin=4)
    assert (np.max(asked, axis=0) <= (16, 16, 24)).all()
    assert len(asked) >= 2 * 3 * 4
