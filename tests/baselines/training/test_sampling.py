import dataclasses
import threading
import time
from typing import ClassVar

import numpy as np
import pytest
import torch

from baselines.box import Box
from baselines.config import Config, DataConfig, build
from baselines.data.crops import load_crops
from baselines.training.sampling import Batch, Patches, cut, threads_of
from baselines.volumes.readers import InMemory
from evaluator.geometry import VoxelGrid
from tests.baselines.made_crops import make_crop

GRID = VoxelGrid((6, 8, 8), (8.0, 8.0, 8.0))
WHOLE = Box((0, 0, 0), (6, 8, 8))


def settings(*, sampling=None, context=0, labels=("a",), **training):
    return build(
        Config,
        {
            "data": {"labels": list(labels)},
            "model": {"context": context},
            "sampling": sampling or {},
            "training": {"patch": [1, 4, 4], "batch": 3, "workers": 2, **training},
        },
        where="",
    )


def crop(*, raw=None, known=None, valid=None, validation=0.0, name="a", **labels):
    raw = np.arange(GRID.voxels, dtype=np.uint16).reshape(GRID.shape) if raw is None else raw
    readers = {label: InMemory(array) for label, array in labels.items()}
    return make_crop(
        name, VoxelGrid(raw.shape, GRID.voxel_size), InMemory(raw), readers,
        validation=validation, known=known, valid=valid,
    )  # fmt: skip


def corner():
    label = np.zeros(GRID.shape, np.uint8)
    label[0, :2, :2] = 1
    return label


def taken(crop, box, labels=("a", "b"), **options):
    return cut(crop, box, labels, boxes=options.pop("boxes", crop.training), **options)


def test_raw_is_normalised_and_ids_come_as_they_are():
    ids = np.arange(GRID.voxels, dtype=np.uint32).reshape(GRID.shape)
    one = crop(a=ids)
    raw, found, known = taken(one, Box((1, 2, 3), (3, 6, 8)), ["a"])
    np.testing.assert_allclose(raw, one.light.normalise(one.raw.array[1:3, 2:6, 3:8]))
    np.testing.assert_array_equal(found[0], ids[1:3, 2:6, 3:8])
    assert known.all()
    assert (raw.dtype, found.dtype, known.dtype) == (np.float32, np.int32, bool)


def test_where_no_label_has_objects_ids_are_small_masks():
    ids = np.arange(GRID.voxels, dtype=np.int32).reshape(GRID.shape) - 1  # -1: nobody looked
    whole, small = (taken(crop(a=ids), WHOLE, ["a"], masks=m)[1:] for m in (False, True))
    assert small[0].dtype == np.uint8
    np.testing.assert_array_equal(small[0], whole[0] > 0)
    np.testing.assert_array_equal(small[1], whole[1])
    config = settings()
    for kind, dtype in (("semantic", torch.uint8), ("instance", torch.int32)):
        trained = dataclasses.replace(config.trained, kinds={"a": kind})
        patches = Patches([crop(a=corner())], ["a"], dataclasses.replace(config, trained=trained))
        assert patches.batch(0).ids.dtype == dtype


def test_what_lies_outside_the_crop_is_known_for_no_label():
    _, _, known = taken(crop(a=corner()), Box((-1, -1, -1), (2, 3, 3)))
    assert not known[1].any()  # nobody annotated b
    assert not known[0, 0].any()
    assert not known[0, :, 0].any()
    assert known[0, 1:, 1:, 1:].all()


def test_each_label_is_known_where_it_was_annotated():
    where = {"a": Box((0, 0, 0), (6, 8, 4)), "b": Box((2, 0, 0), (6, 8, 8))}
    _, ids, known = taken(crop(a=corner(), b=corner() + 1, known=where), WHOLE)
    assert known[0, :, :, :4].all()
    assert not known[0, :, :, 4:].any()
    assert not known[1, :2].any()
    assert known[1, 2:].all()
    assert (ids[1, 2:] > 0).all()


def test_an_object_does_not_end_where_nobody_looked():
    """A border between annotated and not annotated would be learnt as the object's contour."""
    ids = np.zeros(GRID.shape, np.uint8)
    ids[:, :, :4] = 5  # annotated half
    _, found, known = taken(crop(a=ids, known={"a": Box((0, 0, 0), (6, 8, 4))}), WHOLE, ["a"])
    assert (found == 5).all()
    assert not known[0, :, :, 4:].any()


def test_voxels_that_nobody_annotated_are_not_known_and_not_absent():
    ids = corner().astype(np.int16)
    ids[3, 4, 5] = -1
    _, found, known = taken(crop(a=ids), WHOLE, ["a"])
    assert not known[0, 3, 4, 5]
    assert known.sum() == known.size - 1
    assert found.min() == 0


def test_validation_planes_are_not_known_in_training():
    one = crop(a=corner(), validation=1 / 3)
    known = taken(one, WHOLE, ["a"])[2]
    assert known[0, :4].all()
    assert not known[0, 4:].any()
    known = taken(one, WHOLE, ["a"], boxes=one.validation)[2]
    assert not known[0, :4].any()
    assert known[0, 4:].all()


def test_raw_that_was_not_fetched_is_mirrored_not_read():
    raw = np.zeros(GRID.shape, np.uint8)
    raw[:, :, 2:6] = np.random.default_rng(0).integers(50, 200, (6, 8, 4))
    part = Box((0, 0, 2), (6, 8, 6))
    one = crop(raw=raw, valid=part, known={"a": part}, a=corner())
    found, _, known = taken(one, WHOLE, ["a"])
    bright = found * one.light.spread + one.light.middle
    np.testing.assert_allclose(bright[:, :, 0], raw[:, :, 3], atol=1e-3)
    np.testing.assert_allclose(bright[:, :, 7], raw[:, :, 4], atol=1e-3)
    assert not known[0, :, :, :2].any()


def test_context_planes_surround_the_planes_of_ids():
    one = crop(a=corner())
    raw, ids, _ = taken(one, Box((2, 0, 0), (3, 8, 8)), ["a"], context=2)
    assert (raw.shape, ids.shape) == ((5, 8, 8), (1, 1, 8, 8))
    np.testing.assert_allclose(raw, one.light.normalise(one.raw.array[0:5]))


def test_a_batch_has_the_shapes_that_were_promised():
    patches = Patches([crop(a=corner())], ["a", "b"], settings(context=1, labels=("a", "b")))
    batch = patches.batch(0)
    assert batch.raw.shape == (3, 1, 3, 4, 4)
    assert batch.ids.shape == batch.known.shape == (3, 2, 1, 4, 4)
    assert (batch.raw.dtype, batch.ids.dtype, batch.known.dtype) == (
        torch.float32, torch.int32, torch.bool,
    )  # fmt: skip


def same(one, other):
    return all(
        torch.equal(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
    )


def test_a_batch_depends_on_seed_and_iteration_alone():
    patches = Patches([crop(a=corner())], ["a"], settings())
    wanted = [patches.batch(n) for n in range(6)]
    assert all(same(a, b) for a, b in zip(patches.batches(0, 6), wanted, strict=True))
    assert all(same(a, b) for a, b in zip(patches.batches(3, 6), wanted[3:], strict=True))
    assert not same(wanted[0], wanted[1])
    assert not same(wanted[0], Patches([crop(a=corner())], ["a"], settings(seed=1)).batch(0))


def test_two_ranks_hold_together_what_one_rank_with_twice_the_batch_holds():
    crops = [crop(a=corner())]
    whole = Patches(crops, ["a"], settings(batch=6)).batch(4)
    halves = [Patches(crops, ["a"], settings(batch=3), rank=r).batch(4) for r in (0, 1)]
    assert torch.equal(whole.raw, torch.cat([half.raw for half in halves]))
    assert torch.equal(whole.ids, torch.cat([half.ids for half in halves]))


def test_threads_end_with_the_batches_even_if_nobody_takes_them_all():
    before = threading.active_count()
    batches = Patches([crop(a=corner())], ["a"], settings()).batches(0, 1000)
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", ["semantic", "instance"])
def test_large_batches_are_made_a_few_at_a_time(kind, monkeypatch):
    config = settings(batch=2, workers=2)
    config = dataclasses.replace(
        config, trained=dataclasses.replace(config.trained, kinds={"a": kind})
    )
    patches = Patches([crop(a=corner())], ["a"], config)
    one = patches.batch(0)
    assert patches.batch_bytes == sum(part.nbytes for part in (one.raw, one.ids, one.known))
    counted = Counted(patches.crops, patches.labels, config)
    for most, expected in ((1e9, 5), (3 * patches.batch_bytes, 4), (1, 3)):
        Counted.made.clear()
        monkeypatch.setattr("baselines.training.sampling.MOST_AHEAD", most)
        batches = counted.batches(0, 100)
        next(batches)
        time.sleep(0.2)
        assert len(Counted.made) == expected  # the one that was taken, and those that wait
        batches.close()


class Counted(Patches):
    """Patches that remember which batches were made."""

    made: ClassVar[list[int]] = []

    def batch(self, iteration):
        self.made.append(iteration)
        return super().batch(iteration)


def middles(sampling, crops, labels=("a",), draws=200, patch=(1, 2, 2)):
    patches = Patches(crops, labels, settings(sampling=sampling, labels=labels, patch=list(patch)))
    random = np.random.default_rng(0)
    return [patches.places.draw(random, patch) for _ in range(draws)]


def test_a_share_of_patches_lies_on_a_label_and_a_share_on_none():
    label = np.zeros((40, 40, 40), np.uint8)
    label[10:12, 10:12, 10:12] = 1
    one = crop(raw=np.ones(label.shape, np.uint8), a=label)

    def hit(place):
        return one.labels["a"].array[Box(place, tuple(p + 4 for p in place)).slices].any()

    for share in (0.0, 0.5, 1.0):
        drawn = middles({"foreground": share, "negatives": 0.0}, [one], patch=(4, 4, 4))
        assert np.mean([hit(start) for _, start in drawn]) == pytest.approx(share, abs=0.1)
    drawn = middles({"foreground": 0.0, "negatives": 1.0}, [one], patch=(1, 1, 1))
    assert not any(one.labels["a"].array[start] for _, start in drawn)


def test_rare_labels_are_drawn_as_often_as_frequent_ones_if_balanced():
    rare, frequent = np.zeros(GRID.shape, np.uint8), np.zeros(GRID.shape, np.uint8)
    rare[0, 0, 0], frequent[3:] = 1, 1
    one = crop(a=rare, b=frequent)
    shares = [
        Patches([one], ["a", "b"], settings(sampling={"balance": b})).places.label_shares[0]
        for b in (1.0, 0.5, 0.0)
    ]
    assert shares == pytest.approx([0.5, 1 / (1 + 192**0.5), 1 / 193])


def test_a_label_is_drawn_only_from_crops_where_it_occurs():
    without = crop(name="empty", a=np.zeros(GRID.shape, np.uint8))
    drawn = middles({"foreground": 1.0, "negatives": 0.0}, [without, crop(a=corner())])
    assert {found.name for found, _ in drawn} == {"a"}


def test_patches_stay_inside_the_training_box_where_they_fit():
    one = crop(a=corner(), validation=0.5, known={"a": Box((0, 2, 0), (6, 8, 8))})
    for _, (z, y, x) in middles({}, [one], patch=(1, 4, 4)):
        assert 0 <= z < 3
        assert 2 <= y <= 4
        assert 0 <= x <= 4


def test_a_patch_larger_than_the_annotation_has_it_in_its_middle():
    one = crop(a=corner(), known={"a": Box((2, 2, 2), (4, 4, 4))})
    starts = {start for _, start in middles({}, [one], patch=(4, 6, 6))}
    assert starts == {(1, 0, 0)}


def test_a_crop_kept_for_validation_is_never_drawn():
    kept = dataclasses.replace(
        crop(name="kept", a=corner()), training=(), validation=(WHOLE,), count={}, points={},
        negatives=np.zeros((0, 3), int),
    )  # fmt: skip
    assert {found.name for found, _ in middles({}, [kept, crop(a=corner())])} == {"a"}


def test_patches_come_from_larger_crops_more_often():
    empty = np.zeros(GRID.shape, np.uint8)
    large = crop(name="b", raw=np.full((6, 8, 40), 7, np.uint8), a=np.zeros((6, 8, 40), np.uint8))
    drawn = middles({"negatives": 0.0}, [crop(a=empty), large], draws=300)
    share = np.mean([found.name == "b" for found, _ in drawn])
    assert share == pytest.approx(5 / 6, abs=0.07)  # of the voxels


def test_large_crops_are_read_from_disk_and_give_the_same_patches(phantom):
    kept, lazy = (
        load_crops(phantom, Config(data=DataConfig(labels=("mem",), cache_gb=gb)))[1]
        for gb in (4.0, 0.0)
    )
    assert not isinstance(lazy[0].raw, InMemory)
    for one, two in zip(kept, lazy, strict=True):
        parts = (taken(c, Box((1, 3, 60), (3, 11, 68)), ["mem"]) for c in (one, two))
        for a, b in zip(*parts, strict=True):
            np.testing.assert_array_equal(a, b)


def test_labels_that_occur_nowhere_are_learnt_from_their_absence():
    nothing = crop(a=np.zeros(GRID.shape, np.uint8))
    batch = Patches([nothing], ["a"], settings()).batch(0)
    assert batch.known.all()
    assert not batch.ids.any()


def test_parts_hold_the_batch_together():
    batch = Patches([crop(a=corner())], ["a"], settings(batch=5)).batch(0)
    parts = batch.parts(2)
    assert [len(part.raw) for part in parts] == [3, 2]
    whole = Batch(*(torch.cat([getattr(p, f) for p in parts]) for f in ("raw", "ids", "known")))
    assert same(whole, batch)


def test_threads_are_never_more_than_the_processors(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(4)))
    assert [threads_of(n) for n in (-1, 0, 1, 3, 99)] == [3, 1, 1, 3, 4]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    assert threads_of(-1) == 8
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert threads_of(-1) == 1


def test_batches_are_made_fast_enough_for_a_gpu():
    """Patches per second and thread of a volume in memory; generous, as machines are busy."""
    raw = np.random.default_rng(0).integers(1, 255, (64, 256, 256), np.uint8)
    one = crop(raw=raw, a=(raw > 200).astype(np.uint8), known=None)
    patches = Patches([one], ["a"], settings(patch=[32, 128, 128], batch=2))
    patches.batch(0)
    began = time.thread_time()
    for n in range(5):
        patches.batch(n)
    voxels = 5 * 2 * 32 * 128 * 128
    assert voxels / (time.thread_time() - began) > 10e6
