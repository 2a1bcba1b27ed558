"""Annotations: voxels and shares, objects counted, sized and measured as they were drawn."""

import numpy as np
import pytest

from baselines.inspecting import extents
from baselines.inspecting.extents import Extents, Objects, count_voxels, measure_objects
from baselines.volumes.readers import InMemory


def drawn(dtype="uint16"):
    """Ids 7 (twice, apart) and 9: boxes of 3 x 6 x 10, 2 x 2 x 2 and 1 voxels."""
    ids = np.zeros((20, 30, 40), dtype)
    ids[2:5, 3:9, 4:14] = 7
    ids[10:12, 10:12, 10:12] = 7
    ids[15, 15, 15] = 9
    return InMemory(ids)


@pytest.mark.parametrize("masks", [True, False])
def test_instances_are_ids_wherever_they_lie(masks):
    found = measure_objects(drawn(), masks=masks)
    assert (found.count, found.sizes) == (2, {128: 1, 1: 1})
    assert found.reach == (10, 9, 10)


def test_of_a_mask_objects_are_what_hangs_together_if_masks_may_be_there():
    mask = InMemory((drawn().array > 0).astype(np.uint8))
    found = measure_objects(mask, masks=True)
    assert (found.count, found.sizes) == (3, {128: 1, 8: 1, 1: 1})
    assert found.reach == (3, 6, 10)
    assert measure_objects(mask, masks=False).sizes == {128: 1}
    one = InMemory(7 * mask.array)  # masks are 1: this is the object with id 7
    assert measure_objects(one, masks=True).count == 1


def test_two_objects_that_fill_everything_are_two():
    ids = np.ones((4, 4, 4), np.uint16)
    ids[2:] = 2
    assert measure_objects(InMemory(ids), masks=True).sizes == {32: 2}


def test_voxels_that_nobody_annotated_count_for_nothing():
    ids = drawn("int32").array
    ids[0] = -1
    found = count_voxels(InMemory(ids))
    assert (found.voxels, found.annotated) == (189, 19 * 30 * 40)
    assert found.share == pytest.approx(189 / 22_800)
    assert count_voxels(drawn()).share == pytest.approx(189 / 24_000)
    assert measure_objects(InMemory(ids), masks=True).count == 2


def test_objects_of_corners_that_touch_are_two():
    ids = np.zeros((2, 2, 2), np.uint8)
    ids[0, 0, 0] = ids[1, 1, 1] = 1
    assert measure_objects(InMemory(ids), masks=True).count == 2


def test_nothing_drawn_is_nothing_found():
    nothing = InMemory(np.zeros((3, 4, 5), np.uint8))
    assert measure_objects(nothing, masks=True) == Objects()
    assert count_voxels(nothing) == Extents(0, 60)
    assert Extents().share == 0


def test_ids_of_any_size_are_ids():
    ids = drawn("uint64").array
    ids[ids == 7] = 2**60
    assert measure_objects(InMemory(ids), masks=True).count == 2


def test_of_a_large_annotation_the_middle_is_measured_and_all_is_counted(monkeypatch):
    monkeypatch.setattr(extents, "_MOST", 8 * 30 * 40)
    found = measure_objects(drawn(), masks=True)
    assert (found.whole, found.count) == (False, 1)
    assert count_voxels(drawn()).voxels == 189
