"""What trains and what validates: by formula, by seed, by class, and never on the same voxels."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from baselines.box import Box
from baselines.config import SplitConfig
from baselines.data.blocks import Sight
from baselines.data.split import Boxes, Part, boxes_of, distribute, fold_count, gap_nm, groups_of
from baselines.layout import DataError
from evaluator.geometry import VoxelGrid

BOX = Box((0, 0, 0), (10, 8, 8))


def part(name, *, dataset="d", specimen="s", box=BOX, counts=None, grid=None):
    return Part(name, dataset, specimen, box, counts or {}, grid)


def images(n, **given):
    return [part(f"img_{k}", box=Box((0, 0, 0), (1, 8, 8)), **given) for k in range(n)]


def kfold(fold, **given):
    return SplitConfig(kind="kfold", fold=fold, **given)


def validated(boxes: dict[str, Boxes]) -> set[str]:
    return {name for name, found in boxes.items() if found.validation}


@pytest.mark.parametrize(("files", "folds"), [(15, 5), (5, 5), (3, 3), (2, 2), (1, 1)])
def test_there_are_as_many_folds_as_files_but_five_at_most(files, folds):
    assert fold_count(files, SplitConfig().folds) == folds


def test_fifteen_images_make_five_folds_of_twelve_and_three_each_image_validated_once():
    seen = []
    for fold in range(5):
        boxes = boxes_of(images(15), kfold(fold))
        kept = validated(boxes)
        assert len(kept) == 3
        assert sum(bool(found.training) for found in boxes.values()) == 12
        seen += kept
    assert sorted(seen) == sorted(p.name for p in images(15))


def test_two_images_make_two_folds_of_one_and_one_and_no_third():
    kept = [validated(boxes_of(images(2), kfold(fold))) for fold in range(2)]
    assert kept[0] | kept[1] == {"img_0", "img_1"}
    assert all(len(k) == 1 for k in kept)
    with pytest.raises(DataError, match=r"split.fold is 2, but the folds are numbered 0 to 1"):
        boxes_of(images(2), kfold(2))


def test_a_single_volume_that_is_too_small_for_blocks_keeps_its_last_planes():
    expected = Boxes((Box((0, 0, 0), (8, 8, 8)),), (Box((8, 0, 0), (10, 8, 8)),))
    for kind in ("planes", "random", "kfold"):
        split = SplitConfig(kind=kind, fraction=0.2)
        assert boxes_of([part("a")], split, Sight((16, 16, 16))) == {"a": expected}


def test_planes_are_those_of_what_is_annotated_not_of_the_raw_around_it():
    inside = part("a", box=Box((20, 5, 5), (30, 9, 9)))
    found = boxes_of([inside], SplitConfig(fraction=0.3))["a"]
    assert found.validation == (Box((27, 5, 5), (30, 9, 9)),)
    assert found.training == (Box((20, 5, 5), (27, 9, 9)),)


def test_of_single_planes_whole_ones_are_kept():
    boxes = boxes_of(images(10), SplitConfig(kind="planes", fraction=0.2))
    assert len(validated(boxes)) == 2
    assert all(bool(b.training) != bool(b.validation) for b in boxes.values())


def test_a_fraction_of_0_keeps_nothing():
    for kind in ("planes", "random"):
        boxes = boxes_of(images(4), SplitConfig(kind=kind, fraction=0.0))
        assert validated(boxes) == set()
        assert all(found.training for found in boxes.values())


def test_something_always_trains_and_something_is_always_kept():
    for fraction in (0.01, 0.9):
        boxes = boxes_of(images(3), SplitConfig(kind="random", fraction=fraction))
        assert 1 <= len(validated(boxes)) <= 2


def test_same_seed_same_split_in_any_order_and_another_seed_another_split():
    parts = images(30)
    split = SplitConfig(kind="random", fraction=0.3, seed=4)
    assert boxes_of(parts, split) == boxes_of(parts[::-1], split)
    others = {
        frozenset(validated(boxes_of(parts, SplitConfig(kind="random", seed=s)))) for s in range(5)
    }
    assert len(others) > 1


@pytest.mark.parametrize("by", ["dataset", "specimen"])
def test_what_belongs_together_stays_together(by):
    parts = [part(f"c{k}", **{by: f"g{k % 4}"}) for k in range(12)]
    kept = validated(boxes_of(parts, SplitConfig(kind="random", by=by, fraction=0.25)))
    assert len(kept) == 3
    assert len({getattr(p, by) for p in parts if p.name in kept}) == 1


def test_folds_are_counted_in_groups_not_in_crops():
    parts = [part(f"c{k}", specimen=f"s{k % 2}") for k in range(8)]
    kept = [validated(boxes_of(parts, kfold(f, by="specimen"))) for f in range(2)]
    assert [len(k) for k in kept] == [4, 4]
    with pytest.raises(DataError, match="split by specimen"):
        boxes_of(parts, kfold(2, by="specimen"))


def test_a_rare_label_reaches_every_fold_that_it_can():
    counts = [{"mito": 10, "nuc": 5 if k % 5 == 0 else 0} for k in range(25)]
    parts = [part(f"c{k:02}", counts=counts[k]) for k in range(25)]
    for seed, fold in itertools.product(range(4), range(5)):
        kept = validated(boxes_of(parts, kfold(fold, seed=seed)))
        assert len(kept) == 5
        assert sum(counts[int(name[1:])]["nuc"] > 0 for name in kept) == 1


def test_a_label_of_a_single_crop_is_left_to_training():
    parts = [part(f"c{k}", counts={"nuc": 7} if k == 3 else {}) for k in range(10)]
    for seed in range(10):
        split = SplitConfig(kind="random", fraction=0.2, seed=seed)
        assert "c3" not in validated(boxes_of(parts, split))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from("abcd")), min_size=2, max_size=20),
    st.integers(2, 5), st.integers(0, 99),
)  # fmt: skip
def test_bins_get_exactly_their_sizes(groups, bins, seed):
    bins = min(bins, len(groups))
    sizes = [len(groups) // bins + (k < len(groups) % bins) for k in range(bins)]
    found = distribute([frozenset(g) for g in groups], sizes, np.random.default_rng(seed))
    assert [found.count(k) for k in range(bins)] == sizes


def at(name, z, *, dataset="d"):
    """A part of 10 planes of 8 nm that begins at plane z."""
    return part(name, dataset=dataset, grid=VoxelGrid((10, 8, 8), (8.0, 4.0, 4.0), (z * 8.0, 0, 0)))


def test_gaps_are_in_nanometres_from_face_to_face_and_overlaps_are_negative():
    assert gap_nm(at("a", 0), at("b", 15)) == 40.0
    assert gap_nm(at("b", 15), at("a", 0)) == 40.0
    assert gap_nm(at("a", 0), at("b", 10)) == 0.0
    # 8 planes of 64 nm overlap along Z, and 32 nm along Y and X: the least is what must be moved.
    assert gap_nm(at("a", 0), at("b", 2)) == -32.0
    assert gap_nm(at("a", 0), at("b", 2, dataset="other")) == float("inf")


def test_crops_that_overlap_are_never_parted_and_touching_ones_may_be():
    parts = [at("a", 0), at("b", 9), at("c", 19), at("d", 40)]
    named = [[p.name for p in group] for group in groups_of(parts, by="crop")]
    assert named == [["a", "b"], ["c"], ["d"]]
    near = groups_of(parts, by="crop", apart=80.0)
    assert [[p.name for p in group] for group in near] == [["a", "b", "c"], ["d"]]


def test_a_chain_of_overlaps_is_one_group_in_whatever_order_it_is_found():
    parts = [at("a", 0), at("b", 18), at("c", 9)]
    assert len(groups_of(parts, by="crop")) == 1


def test_a_crop_that_is_there_twice_is_an_error():
    with pytest.raises(DataError, match="crop a is there twice"):
        boxes_of([part("a"), part("a")], SplitConfig())


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["planes", "random", "kfold"]),
    by=st.sampled_from(["crop", "dataset", "specimen"]),
    offsets=st.lists(st.integers(0, 60), min_size=1, max_size=8),
    fraction=st.floats(0, 0.9),
    seed=st.integers(0, 9),
)
def test_every_plane_has_one_use_and_no_place_in_the_specimen_has_two(
    kind, by, offsets, fraction, seed
):
    parts = [at(f"c{k}", z, dataset=f"d{z % 3}") for k, z in enumerate(offsets)]
    overlap = any(gap_nm(a, b) < 0 for a, b in itertools.combinations(parts, 2))
    assume(not overlap or (kind != "planes" and len(groups_of(parts, by=by)) > 1))
    split = SplitConfig(kind=kind, by=by, fraction=fraction, seed=seed)
    boxes = boxes_of(parts, split)
    of_place: dict[tuple[str, int], set[str]] = {}
    for one, start in zip(parts, offsets, strict=True):
        found = boxes[one.name]
        uses = [("t", box) for box in found.training] + [("v", box) for box in found.validation]
        assert all(box.shape[1:] == (8, 8) for _, box in uses)
        planes = [(use, z) for use, box in uses for z in range(box.start[0], box.stop[0])]
        assert sorted(z for _, z in planes) == list(range(10))
        for use, z in planes:
            of_place.setdefault((one.dataset, start + z), set()).add(use)
    assert all(len(uses) == 1 for uses in of_place.values())


def test_last_planes_of_overlapping_crops_are_refused_with_both_names():
    with pytest.raises(DataError, match=r"crops b \(training\) and a \(validation\) of d overlap"):
        boxes_of([at("a", 0), at("b", 5)], SplitConfig(fraction=0.2))
