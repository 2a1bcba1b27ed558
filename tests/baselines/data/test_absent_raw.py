"""Chunks of raw that are not there: nothing is learnt at them, and a word says so."""

import shutil

import numpy as np
import pytest

from baselines.box import Box
from baselines.config import Config, DataConfig, build
from baselines.data.crops import load_crops
from baselines.data.exporting import Padding, export_crops
from baselines.data.masks import Unseen
from baselines.data.sources.tables import are_black
from baselines.fetching.fetch import fetch
from baselines.fetching.fetch_plan import Choice
from baselines.fetching.fetched import LEDGER
from baselines.fetching.published import CELLMAP, choose, layout_of
from baselines.fetching.store import open_store
from baselines.layout import DataError, DataFolder, Purpose
from baselines.training.sampling import cut
from baselines.volumes.readers import InMemory
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Target, format_labels, format_manifest
from evaluator.volume import open_volume
from tests.baselines.trees import MEM, RAW, TRUTH, halved, pyramid, specimen

FULL = np.ones((16, 16, 16), np.uint8)
HOLE = (slice(8, 16), slice(0, 8), slice(8, 16))  # of the crop, a chunk of 8^3 voxels
CHUNK = "3.2.3"  # the crop begins at voxel 16


@pytest.fixture(params=[2, 3])
def holed(request, tmp_path):
    """A crop of 16^3 voxels, all of them `mem`, in raw of 64^3 that lacks a chunk in it."""
    root = tmp_path / "tree"
    raw, version = root / RAW.format("jrc_a"), request.param
    pyramid(raw, {4.0: specimen()}, zarr_format=version)
    label = root / TRUTH.format("jrc_a", "crop7", "mem")
    pyramid(label, {4.0: FULL}, corner=(64.0,) * 3, zarr_format=version)
    (raw / "s0" / (CHUNK if version == 2 else f"c/{CHUNK.replace('.', '/')}")).unlink()
    return root


def settings(**data):
    table = {"data": data, "split": {"fraction": 0.0}, "training": {"patch": [1, 8, 8]}}
    tile = {"tile": [1, 8, 8], "overlap": [0, 2, 2]}
    return build(Config, {**table, "prediction": tile}, where="")


def load(root, **data):
    said: list[str] = []
    _, (crop,) = load_crops(root, settings(**data), progress=said.append)
    return crop, said


def ids_of(crop):
    box = crop.known["mem"]
    return np.asarray(crop.labels["mem"].read(box.start, box.stop))


def test_nothing_is_learnt_where_a_chunk_is_missing_and_everything_beside_it(holed):
    crop, said = load(holed)
    expected = FULL.astype(np.int8)
    expected[HOLE] = -1
    np.testing.assert_array_equal(ids_of(crop), expected)
    assert crop.count == {"mem": 16**3 - 8**3}
    low = np.array(crop.known["mem"].start)
    points = crop.points["mem"] - low
    assert (expected[tuple(points.T)] == 1).all()
    _, ids, known = cut(crop, crop.known["mem"], ["mem"], boxes=crop.training)
    np.testing.assert_array_equal(known[0], expected == 1)
    np.testing.assert_array_equal(ids[0][known[0]], 1)
    (line,) = [text for text in said if "lacks" in text]
    assert line.startswith("crop7: ")
    assert "lacks 1 chunk at 4,4,4 nm, 12.5 % of the raw at its annotations" in line
    assert "`baselines fetch SOURCE --dest DATA --crops crop7 --voxel-size 4,4,4`" in line
    assert "set data.absent = 'black'" in line


def test_a_chunk_that_is_said_to_be_black_is_data(holed):
    crop, said = load(holed, absent="black")
    np.testing.assert_array_equal(ids_of(crop), FULL)
    assert not said
    raw = crop.raw.read(crop.known["mem"].start, crop.known["mem"].stop)
    assert not raw[HOLE].any()


def test_raw_that_is_there_whole_is_not_talked_about(holed):
    pyramid(holed / RAW.format("jrc_a"), {4.0: specimen()})
    crop, said = load(holed)
    assert (crop.count, said) == ({"mem": 16**3}, [])


def test_a_finer_level_that_is_whole_is_taken_for_one_that_is_not(tmp_path):
    raw = tmp_path / RAW.format("jrc_a")
    pyramid(raw, {4.0: specimen(), 8.0: halved(specimen())}, chunks=4)
    pyramid(tmp_path / TRUTH.format("jrc_a", "crop7", "mem"), {4.0: FULL}, corner=(64.0,) * 3)
    (raw / "s1/2.2.2").unlink()
    crop, said = load(tmp_path, voxel_size=[8.0] * 3)
    assert (crop.count, said) == ({"mem": 8**3}, [])
    inside = crop.raw.read(crop.known["mem"].start, crop.known["mem"].stop)
    assert np.abs(inside - halved(specimen())[8:16, 8:16, 8:16].astype(float)).max() <= 1
    (raw / "s0/4.4.4").unlink()  # now neither is whole: the level of the model's size
    crop, said = load(tmp_path, voxel_size=[8.0] * 3)
    assert crop.count == {"mem": 8**3 - 4**3}
    assert "lacks 1 chunk at 8,8,8 nm, 12.5 %" in said[0]


@pytest.mark.parametrize("size", [8.0, 3.0])
def test_resampled_voxels_with_a_share_in_what_is_missing_are_not_learnt(holed, size):
    crop, said = load(holed, voxel_size=[size] * 3, coarsest=2.0)
    black = np.asarray(crop.raw.read(crop.known["mem"].start, crop.known["mem"].stop)) < 39
    assert black.any()  # where raw was not there; elsewhere it is 40 at least
    learnt = ids_of(crop) >= 0
    assert learnt.any()
    assert not (learnt & black).any()
    assert any("lacks 1 chunk" in text for text in said)


def test_an_export_says_of_annotations_without_raw_that_nobody_looked(holed, tmp_path):
    said: list[str] = []
    export_crops(
        holed, tmp_path / "out", settings(), padding=Padding((0, 0, 0)), progress=said.append
    )
    expected = FULL.astype(np.int16)
    expected[HOLE] = -1
    data = DataFolder(tmp_path / "out")
    (target,) = data.manifest(Purpose.TRAIN).targets
    np.testing.assert_array_equal(open_volume(data.label(Purpose.TRAIN, target)).read(), expected)
    assert any("lacks 1 chunk" in text for text in said)
    # The copy is a data folder of ours, so its own black chunk is data; the annotation is not.
    crop, said = load(tmp_path / "out")
    assert (crop.count, said) == ({"mem": 16**3 - 8**3}, [])


def test_black_chunks_of_a_store_are_data_once_they_were_fetched(tmp_path):
    black = specimen()
    black[24:32, 16:24, 24:32] = 0
    store = tmp_path / "store"
    pyramid(store / RAW.format("jrc_a"), {4.0: black})
    pyramid(store / TRUTH.format("jrc_a", "crop7", "mem"), {4.0: FULL}, corner=(64.0,) * 3)
    target = Target(Crop("7", "jrc_a"), MEM, VoxelGrid((16,) * 3, (4.0,) * 3, (66.0,) * 3))
    (store / CELLMAP.manifest).write_text(format_manifest([target]))
    (store / "labels.toml").write_text(format_labels([MEM]))
    source = open_store(str(store))
    wanted = choose(source, layout_of(source), crops="all")
    fetch(source, wanted, tmp_path / "d", Choice(), progress=lambda _: None)
    assert not (tmp_path / "d" / RAW.format("jrc_a") / "s0" / CHUNK).exists()
    crop, said = load(tmp_path / "d")
    assert (crop.count, said) == ({"mem": 16**3}, [])
    shutil.copytree(tmp_path / "d", tmp_path / "copy")
    (tmp_path / "copy" / LEDGER).unlink()  # nobody knows any more what the store has not
    crop, said = load(tmp_path / "copy")
    assert crop.count == {"mem": 16**3 - 8**3}
    assert "lacks 1 chunk" in said[0]


def test_data_folders_of_ours_are_whole_unless_they_were_fetched_into(tmp_path):
    assert are_black(tmp_path, DataConfig(), ours=True)
    assert not are_black(tmp_path, DataConfig(), ours=False)
    (tmp_path / LEDGER).write_text("")
    assert not are_black(tmp_path, DataConfig(), ours=True)
    assert are_black(tmp_path, DataConfig(absent="black"), ours=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "bool"])
def test_unseen_boxes_are_cut_out_of_every_part_that_is_read(dtype):
    ids = np.ones((4, 5, 6), dtype)
    unseen = Unseen(InMemory(ids), [Box((0, 0, 0), (2, 2, 2)), Box((3, 4, 5), (4, 5, 9))])
    whole = unseen.read((0, 0, 0), (4, 5, 6))
    assert (whole == -1).sum() == 9
    assert (whole == 1).sum() == 120 - 9
    np.testing.assert_array_equal(unseen.read((1, 1, 1), (4, 4, 4)), whole[1:4, 1:4, 1:4])
    with pytest.raises(DataError, match="whole numbers"):
        Unseen(InMemory(ids.astype(float)), []).read((0, 0, 0), (1, 1, 1))
