"""Objects of annotations: counted, sized and measured as they were drawn."""

import numpy as np
import pytest

from baselines.inspecting import extents
from baselines.inspecting.extents import Extents, count_voxels, measure_extents
from baselines.volumes.readers import InMemory


def drawn(dtype="uint16"):
    """Ids 7 (twice, apart) and 9: boxes of 3 x 6 x 10, 2 x 2 x 2 and 1 voxels."""
    ids = np.zeros((20, 30, 40), dtype)
    ids[2:5, 3:9, 4:14] = 7
    ids[10:12, 10:12, 10:12] = 7
    ids[15, 15, 15] = 9
    return InMemory(ids)


def test_instances_are_ids_wherever_they_lie():
    found = measure_extents(drawn(), instances=True)
    assert (found.voxels, found.objects, found.sizes) == (189, 2, {128: 1, 1: 1})
    assert found.reach == (10, 9, 10)


def test_of_masks_and_of_single_ids_objects_are_what_hangs_together():
    found = measure_extents(drawn(), instances=False)
    assert (found.objects, found.sizes) == (3, {128: 1, 8: 1, 1: 1})
    assert found.reach == (3, 6, 10)
    one = InMemory((drawn().array > 0).astype(np.uint8))
    assert measure_extents(one, instances=True) == found


def test_voxels_that_nobody_annotated_are_none_of_an_object():
    ids = drawn("int32").array
    ids[ids == 0] = -1
    assert measure_extents(InMemory(ids), instances=False).voxels == 189
    assert count_voxels(InMemory(ids)).voxels == 189


def test_objects_of_corners_that_touch_are_two():
    ids = np.zeros((2, 2, 2), np.uint8)
    ids[0, 0, 0] = ids[1, 1, 1] = 1
    assert measure_extents(InMemory(ids), instances=False).objects == 2


def test_nothing_drawn_is_nothing_found():
    assert measure_extents(InMemory(np.zeros((3, 4, 5), np.uint8)), instances=True) == Extents()


def test_ids_of_any_size_are_ids():
    ids = drawn("uint64").array
    ids[ids == 7] = 2**60
    assert measure_extents(InMemory(ids), instances=True).objects == 2


@pytest.mark.parametrize("instances", [True, False])
def test_of_a_large_annotation_the_middle_is_measured_and_all_is_counted(monkeypatch, instances):
    monkeypatch.setattr(extents, "_MOST", 8 * 30 * 40)
    found = measure_extents(drawn(), instances=instances)
    assert not found.whole
    assert (found.voxels, found.objects) == (189, 1)
