"""From a folder on disk to training crops: resolution, what is known, what is left out."""

import shutil

import numpy as np
import pytest

from baselines.box import Box
from baselines.config import Config, build
from baselines.data.crops import kinds_of, load_crops
from baselines.layout import DataError
from baselines.volumes.readers import InMemory
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind
from evaluator.volume import create_volume
from tests.baselines.data.test_sources import pairs
from tests.baselines.trees import RAW, TRUTH, block, halved, pyramid, specimen, tree


def settings(*, split=None, sampling=None, **data) -> Config:
    table = {
        "data": data,
        "split": split or {"fraction": 0.0},
        "training": {"patch": [1, 8, 8]},
        "prediction": {"tile": [1, 8, 8], "overlap": [0, 2, 2]},
    }
    return build(Config, table, where="")


def load(root, **data):
    said: list[str] = []
    labels, crops = load_crops(root, settings(**data), progress=said.append)
    return labels, {crop.name: crop for crop in crops}, said


def whole(reader):
    return np.asarray(reader.read((0, 0, 0), reader.shape))


def annotated(crop, label):
    """Ids of a label where it is known."""
    box = crop.known[label]
    return np.asarray(crop.labels[label].read(box.start, box.stop))


def test_an_annotated_box_comes_with_raw_around_it(tmp_path):
    label = block(at=(2, 3, 4))
    tree(tmp_path, mito=label)
    _, crops, _ = load(tmp_path)
    crop = crops["crop7"]
    # 16 voxels at 16 of 64, with 4, 8 and 8 of context: a patch of one plane, half a tile
    assert crop.raw.shape == (18, 32, 32)
    assert crop.grid == VoxelGrid((18, 32, 32), (4.0,) * 3, (62.0, 34.0, 34.0))
    assert crop.known == {"mito": Box((1, 8, 8), (17, 24, 24))}
    np.testing.assert_array_equal(whole(crop.raw), specimen()[15:33, 8:40, 8:40])
    np.testing.assert_array_equal(annotated(crop, "mito"), label)
    assert crop.training == (Box((1, 8, 8), (17, 24, 24)),)
    assert not whole(crop.labels["mito"])[0].any()  # nothing is known there


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_levels_are_chosen_by_voxel_size_and_never_by_name(tmp_path, zarr_format):
    raw = specimen()
    # The finest level is called s1 here, as if s0 had been another thing.
    pyramid(
        tmp_path / RAW.format("jrc_a"), {4.0: raw, 8.0: halved(raw)}, names="level{}",
        zarr_format=zarr_format,
    )  # fmt: skip
    pyramid(
        tmp_path / TRUTH.format("jrc_a", "crop7", "mito"), {8.0: block((8, 8, 8), size=(2, 2, 2))},
        corner=(64.0,) * 3, names="x{}", zarr_format=zarr_format,
    )  # fmt: skip
    _, crops, _ = load(tmp_path)
    assert crops["crop7"].grid.voxel_size == (8.0,) * 3
    np.testing.assert_array_equal(
        whole(crops["crop7"].raw), halved(raw)[7:17, 0:24, 0:24]
    )  # the level as it is stored, not resampled


def test_finer_data_are_averaged_and_masks_follow_half_a_voxel(tmp_path):
    raw = specimen()
    pyramid(tmp_path / RAW.format("jrc_a"), {4.0: raw})
    label = block(at=(4, 4, 4), size=(4, 4, 4))
    pyramid(tmp_path / TRUTH.format("jrc_a", "crop7", "pm"), {4.0: label}, corner=(64.0,) * 3)
    _, crops, _ = load(tmp_path, voxel_size=[8.0, 8.0, 8.0])
    crop = crops["crop7"]
    assert crop.grid.voxel_size == (8.0,) * 3
    found, first = whole(crop.raw).astype(int), round((crop.grid.offset[0] - 4) / 8)
    expected = halved(raw)[first : first + len(found), :24, :24]
    assert np.abs(found - expected).max() <= 1  # rounding of halves
    np.testing.assert_array_equal(
        annotated(crop, "pm"), block((8, 8, 8), at=(2,) * 3, size=(2,) * 3)
    )


def test_of_several_levels_of_a_label_the_one_of_the_model_is_read(tmp_path):
    tree(tmp_path)
    pyramid(
        tmp_path / TRUTH.format("jrc_a", "crop7", "mito"),
        {2.0: block((32,) * 3), 8.0: block((8,) * 3, at=(1, 1, 1), value=5)}, corner=(64.0,) * 3,
    )  # fmt: skip
    _, crops, _ = load(tmp_path, voxel_size=[8.0] * 3)
    np.testing.assert_array_equal(
        annotated(crops["crop7"], "mito"), block((8,) * 3, at=(1, 1, 1), value=5)
    )


def test_annotations_that_are_too_coarse_are_left_out_unless_allowed(tmp_path):
    tree(tmp_path, mito=block())
    pyramid(
        tmp_path / TRUTH.format("jrc_a", "crop7", "nuc"),
        {32.0: block((2,) * 3, at=(0, 0, 0), size=(1, 1, 1), value=9)}, corner=(64.0,) * 3,
    )  # fmt: skip
    labels, crops, said = load(tmp_path)
    assert labels == ["mito"]
    assert any("nuc is left out" in s and "data.allow_coarse" in s for s in said)
    labels, crops, _ = load(tmp_path, allow_coarse=["nuc"], voxel_size=[4.0] * 3)
    assert labels == ["mito", "nuc"]
    np.testing.assert_array_equal(
        annotated(crops["crop7"], "nuc"), block((16,) * 3, at=(0, 0, 0), size=(8,) * 3, value=9)
    )


def test_raw_that_is_too_coarse_is_an_error_with_both_sizes(tmp_path):
    pyramid(tmp_path / RAW.format("jrc_a"), {16.0: specimen(n=16)})
    tree(tmp_path, mito=block())
    with pytest.raises(DataError, match=r"voxels of \(16.0, 16.0, 16.0\) nm, more than 1.5.*\(4.0"):
        load(tmp_path, voxel_size=[4.0] * 3)


def test_where_no_raw_was_fetched_nothing_is_learnt(tmp_path):
    tree(tmp_path, mito=block())
    raw = tmp_path / RAW.format("jrc_a")
    for level in ("s0", "s1"):
        shutil.rmtree(raw / level)
    pyramid(raw, {4.0: np.pad(specimen(n=24), ((16, 24),) * 3)})
    _, crops, _ = load(tmp_path)
    crop = crops["crop7"]
    assert crop.valid == Box((1, 8, 8), (18, 32, 32))  # chunks of 8 begin at 16
    assert whole(crop.raw)[crop.valid.slices].all()
    assert crop.known["mito"] == Box((1, 8, 8), (17, 24, 24))
    shutil.rmtree(raw / "s0")
    pyramid(raw, {4.0: np.pad(specimen(n=24), ((40, 0),) * 3)})
    with pytest.raises(DataError, match=r"no data there.*baselines fetch"):
        load(tmp_path)


def test_a_crop_without_raw_leaves_the_others_in(tmp_path):
    tree(tmp_path, mito=block())
    tree(tmp_path, crop="crop8", corner=(9000.0,) * 3, mito=block())
    _, crops, said = load(tmp_path)
    assert list(crops) == ["crop7"]
    assert any("crop8 is left out: it lies outside its raw. Check the offsets" in s for s in said)


def test_only_the_part_of_an_annotation_that_has_raw_is_known(tmp_path):
    tree(tmp_path, corner=(224.0, 64.0, 64.0), mito=np.ones((16,) * 3, np.uint8))
    _, crops, _ = load(tmp_path)
    assert crops["crop7"].known["mito"].shape == (8, 16, 16)


def test_a_label_without_an_array_is_unknown_and_one_of_zeros_is_absent(tmp_path):
    tree(tmp_path, mito=block(), er=np.zeros((16,) * 3, np.uint8))
    tree(tmp_path, crop="crop8", mito=block(), er=block())
    tree(tmp_path, crop="crop9", mito=block())
    _, crops, _ = load(tmp_path)
    assert crops["crop7"].count["er"] == 0
    assert "er" in crops["crop7"].known
    assert "er" not in crops["crop9"].known


def test_a_group_is_derived_where_all_its_labels_are_annotated(tmp_path):
    mem, lum = block(at=(2, 2, 2)), block(at=(8, 8, 8))
    tree(tmp_path, er_mem=mem, er_lum=lum)  # er consists of er_mem, er_lum and more
    tree(tmp_path, crop="crop8", golgi_mem=mem, golgi_lum=lum)
    labels, crops, _ = load(tmp_path, labels=["golgi", "golgi_mem"])
    assert labels == ["golgi", "golgi_mem"]
    assert list(crops) == ["crop8"]
    np.testing.assert_array_equal(annotated(crops["crop8"], "golgi"), mem | lum)
    with pytest.raises(DataError, match=r"er \(annotated in 0 of 2 crops\)"):
        load(tmp_path, labels=["er"])


def test_a_group_with_an_annotation_of_its_own_is_read(tmp_path):
    own = block(at=(0, 0, 0))
    tree(tmp_path, golgi=own, golgi_mem=block(), golgi_lum=block())
    _, crops, _ = load(tmp_path, labels=["golgi"])
    np.testing.assert_array_equal(annotated(crops["crop7"], "golgi"), own)
    assert set(crops["crop7"].labels) == {"golgi"}


def test_instances_that_are_stored_as_one_mask_become_objects(tmp_path):
    both = block(at=(1, 1, 1)) | block(at=(8, 8, 8))
    tree(tmp_path, mito=both)
    tree(tmp_path, crop="crop8", mito=both * 3)  # ids, though of one object
    _, crops, _ = load(tmp_path)
    found = annotated(crops["crop7"], "mito")
    assert sorted(np.unique(found)) == [0, 1, 2]
    np.testing.assert_array_equal(found > 0, both > 0)
    assert sorted(np.unique(annotated(crops["crop8"], "mito"))) == [0, 3]


def test_a_label_without_any_voxel_is_an_error_that_counts_crops(tmp_path):
    tree(tmp_path, mito=block(), ribo=np.zeros((16,) * 3, np.uint8))
    tree(tmp_path, crop="crop8", mito=block())
    message = r"no annotated voxels for ribo \(annotated in 1 of 2 crops\).*data.skip_empty"
    with pytest.raises(DataError, match=message):
        load(tmp_path, labels=["mito", "ribo"])
    labels, _, said = load(tmp_path, labels=["mito", "ribo"], skip_empty=True)
    assert labels == ["mito"]
    assert any("ribo" in s for s in said)
    assert load(tmp_path)[0] == ["mito"]  # nobody asked for it


def test_crops_of_zeros_stay_as_negatives_unless_they_are_to_be_dropped(tmp_path):
    tree(tmp_path, mito=block())
    tree(tmp_path, crop="crop8", mito=np.zeros((16,) * 3, np.uint8))
    _, crops, _ = load(tmp_path)
    assert crops["crop8"].count == {"mito": 0}
    assert len(crops["crop8"].negatives)
    assert list(load(tmp_path, drop_empty=True)[1]) == ["crop7"]


def test_crops_of_different_voxel_sizes_need_a_word(tmp_path):
    tree(tmp_path, mito=block())
    tree(tmp_path, crop="crop8", size=8.0, mito=block((8,) * 3, at=(1, 1, 1)))
    with pytest.raises(DataError, match=r"different voxel sizes .*4.0.*8.0.*data.voxel_size"):
        load(tmp_path)
    assert len(load(tmp_path, voxel_size=[8.0] * 3)[1]) == 2


def test_large_crops_are_read_from_disk_and_are_the_same(tmp_path):
    tree(tmp_path, mito=block(), pm=block(at=(9, 9, 9)))
    _, cached, _ = load(tmp_path, voxel_size=[8.0] * 3)
    _, lazy, _ = load(tmp_path, voxel_size=[8.0] * 3, cache_gb=0.0)
    one, two = cached["crop7"], lazy["crop7"]
    assert isinstance(one.raw, InMemory)
    assert not isinstance(two.raw, InMemory)
    np.testing.assert_array_equal(whole(one.raw), whole(two.raw))
    for label in ("mito", "pm"):
        np.testing.assert_array_equal(whole(one.labels[label]), whole(two.labels[label]))
        np.testing.assert_array_equal(one.points[label], two.points[label])
    assert one.light == two.light


def test_a_fold_validates_on_its_crops_and_trains_on_the_others(tmp_path):
    for n in range(1, 5):
        tree(tmp_path, crop=f"crop{n}", corner=(64.0, 64.0, 8.0 * n), mito=block())
    tree(tmp_path, dataset="jrc_b", crop="crop9", mito=block())
    split = {"kind": "kfold", "by": "dataset", "fold": 0}
    _, crops = load_crops(tmp_path, settings(split=split), progress=lambda _: None)
    validated = {c.dataset for c in crops if c.validation}
    trained = {c.dataset for c in crops if c.training}
    assert len(crops) == 5
    assert not validated & trained
    assert validated | trained == {"jrc_a", "jrc_b"}
    for crop in crops:
        assert (crop.count["mito"] > 0) == bool(crop.training)  # points lie where it trains


def test_the_last_planes_are_kept_and_points_lie_before_them(tmp_path):
    tree(tmp_path, mito=np.ones((16,) * 3, np.uint8))
    _, (crop,) = load_crops(tmp_path, settings(split={"fraction": 0.25}), progress=lambda _: None)
    assert crop.training == (Box((1, 8, 8), (13, 24, 24)),)
    assert crop.validation == (Box((13, 8, 8), (17, 24, 24)),)
    assert crop.points["mito"][:, 0].max() == 12
    assert crop.count["mito"] == 12 * 16 * 16


def test_only_some_planes_of_a_stack_are_used(tmp_path):
    pairs(tmp_path, a=block())
    _, crops, _ = load(tmp_path, planes=[2, 6])
    assert crops["a"].known["class1"] == Box((2, 0, 0), (6, 16, 16))
    assert crops["a"].count == {"class1": 2 * 4 * 4}
    with pytest.raises(DataError, match=r"data.planes is \[20, 30\]; there are planes 0 to 16"):
        load(tmp_path, planes=[20, 30])


def test_voxels_that_say_nobody_looked_are_neither_foreground_nor_negative(tmp_path):
    mask = block(value=3)
    mask[8:] = 255
    pairs(tmp_path, a=mask)
    _, crops, _ = load(tmp_path, ignore=255, classes={"er": "3:semantic"})
    ids = whole(crops["a"].labels["er"])
    assert (ids[8:] == -1).all()
    assert crops["a"].negatives[:, 0].max() == 7
    assert crops["a"].points["er"][:, 0].max() == 7


def test_classes_of_a_mask_have_the_kinds_that_are_given(tmp_path):
    mask = block(value=1) + block(at=(9, 9, 9), value=2) + block(at=(0, 12, 12), value=2)
    pairs(tmp_path, a=mask)
    data = {"classes": {"mito": "2:instance", "cell": "ids:instance", "er": "1,2:semantic"}}
    labels, crops, _ = load(tmp_path, **data)
    assert labels == ["cell", "er", "mito"]
    assert kinds_of(tmp_path, settings(**data)) == {
        "mito": Kind.INSTANCE, "cell": Kind.INSTANCE, "er": Kind.SEMANTIC,
    }  # fmt: skip
    assert sorted(np.unique(whole(crops["a"].labels["mito"]))) == [0, 1, 2]
    np.testing.assert_array_equal(whole(crops["a"].labels["cell"]), mask)
    np.testing.assert_array_equal(whole(crops["a"].labels["er"]), mask > 0)


def test_images_without_a_voxel_size_have_the_one_that_is_given(tmp_path):
    pairs(tmp_path, a=block())
    assert load(tmp_path)[1]["a"].grid.voxel_size == (1.0,) * 3
    assert load(tmp_path, voxel_size=[40.0, 8.0, 8.0])[1]["a"].grid.voxel_size == (40.0, 8.0, 8.0)


def test_an_annotation_that_does_not_fit_its_raw_is_an_error_in_a_data_folder(phantom, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(phantom.root, root)
    grid = VoxelGrid((12, 64, 80), (8.0,) * 3)
    create_volume(root / "train" / "phantom-train-1" / "labels" / "mito", grid, np.uint8)[:] = 1
    with pytest.raises(DataError, match=r"phantom-train-1/mito: .*\(12, 64, 80\).*\(12, 64, 64\)"):
        load(root, labels=["mito"])


def test_crops_that_annotate_none_of_the_labels_that_are_left_do_not_take_part(tmp_path):
    tree(tmp_path, mito=block())
    tree(tmp_path, crop="crop8", ribo=np.zeros((16,) * 3, np.uint8))
    labels, crops, _ = load(tmp_path)
    assert labels == ["mito"]
    assert list(crops) == ["crop7"]
