"""Test crops in fetched raw: their boxes, the raw around them, and what is missing."""

import dataclasses
import shutil

import numpy as np
import pytest
import zarr

from baselines.box import Box
from baselines.config import Config, build
from baselines.fetching.fetch import fetch
from baselines.fetching.fetch_plan import Choice
from baselines.fetching.fetched import LEDGER
from baselines.fetching.published import choose, layout_of
from baselines.fetching.store import open_store
from baselines.layout import DataError, DataFolder
from baselines.predicting.prediction import predict
from baselines.predicting.subjects import Subject, hidden_crops
from baselines.predicting.surroundings import margin_of
from baselines.predicting.team import team_of
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume, open_volume
from tests.baselines.conftest import tiny_volume
from tests.baselines.predicting.test_prediction import run_in
from tests.baselines.trees import RAW, halved, published, pyramid, specimen

RAW_4 = specimen(n=96)
# Voxels 16 to 32, 20 to 40, 24 to 48 of raw at 4 nm.
GRID = VoxelGrid((16, 20, 24), (4.0,) * 3, (66.0, 82.0, 98.0))
CORE = (slice(16, 32), slice(20, 40), slice(24, 48))


def settings(size=4.0, *, tile=(16, 16, 16), overlap=(4, 4, 4), **more):
    return build(
        Config,
        {
            "data": {"voxel_size": [size] * 3, **more}, "model": {"dims": 3},
            "prediction": {"tile": list(tile), "overlap": list(overlap)},
        },
        where="",
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Tests only read it."""
    return published(tmp_path_factory.mktemp("store"), {"7": GRID}, raw=RAW_4, chunks=8)


def fetched(store, dest, **choice):
    source = open_store(str(store))
    wanted = choose(source, layout_of(source), crops="test")
    fetch(source, wanted, dest, Choice(**choice), progress=lambda _: None)
    return dest


def the_crop(root, config):
    (subject,) = hidden_crops(DataFolder(root))
    return subject.open(config)


def seen(raw):
    return raw.read((0, 0, 0), raw.shape)


def test_a_crop_comes_with_as_much_raw_around_it_as_was_fetched(store, tmp_path):
    # Chunks of 8 voxels come as a whole: along Y, 4 voxels of the first lie before the crop.
    for padding, low in ((0, (0, 4, 0)), (4, (4, 4, 4)), (40, (4, 4, 4))):
        raw = the_crop(fetched(store, tmp_path / f"p{padding}", padding=padding), settings())
        assert raw.predicted == GRID
        assert raw.core.shape == GRID.shape
        assert raw.core.start == low
        first = [a - n for a, n in zip((16, 20, 24), low, strict=True)]
        part = tuple(slice(a, a + n) for a, n in zip(first, raw.shape, strict=True))
        np.testing.assert_array_equal(seen(raw), RAW_4[part])
        assert seen(raw).min() > 0  # nothing that nobody fetched


def test_a_model_of_larger_voxels_reads_its_own_level(store, tmp_path):
    raw = the_crop(fetched(store, tmp_path, padding=8), settings(8.0))
    assert raw.predicted == VoxelGrid((8, 10, 12), (8.0,) * 3, (68.0, 84.0, 100.0))
    np.testing.assert_array_equal(seen(raw)[raw.core.slices], halved(RAW_4)[8:16, 10:20, 12:24])


def test_where_only_finer_raw_was_fetched_it_is_averaged_and_what_lies_beyond_counts_for_nothing(
    store, tmp_path
):
    raw = the_crop(fetched(store, tmp_path, padding=3, voxel_size=(4.0,) * 3), settings(8.0))
    assert raw.predicted == VoxelGrid((8, 10, 12), (8.0,) * 3, (68.0, 84.0, 100.0))
    expected = RAW_4[CORE].reshape(8, 2, 10, 2, 12, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(seen(raw)[raw.core.slices], expected, atol=0.5 + 1e-4)
    assert raw.core.start == (4, 2, 4)  # voxels of 8 nm whose middle lies in a chunk that is there
    assert seen(raw).min() > 40  # a mean with zeros would be darker


def test_a_crop_that_is_no_whole_number_of_the_models_voxels_is_covered(store, tmp_path):
    raw = the_crop(fetched(store, tmp_path, padding=8), settings(6.0))
    assert raw.predicted.shape == (11, 14, 16)  # of 64, 80 and 96 nm
    assert all(
        a >= b for a, b in zip(raw.predicted.extent_nm, GRID.extent_nm, strict=True)
    )  # fmt: skip
    corner = [o - 3.0 for o in raw.predicted.offset]
    assert corner == [64.0, 80.0, 96.0]


def test_raw_that_was_not_fetched_at_the_models_voxels_is_told_with_the_command(store, tmp_path):
    fetched(store, tmp_path, voxel_size=(8.0,) * 3)
    command = rf"`baselines fetch SOURCE --dest {tmp_path} --crops crop7 --voxel-size 4,4,4`"
    with pytest.raises(DataError, match=r"more than 1.5 times as large.* crop7 with " + command):
        the_crop(tmp_path, settings())
    assert the_crop(tmp_path, settings(coarsest=2)).predicted.voxel_size == (4.0, 4.0, 4.0)


def test_a_crop_whose_raw_came_in_part_is_refused_not_predicted_on_black(store, tmp_path):
    """As after a fetch of another level that was broken off: chunks, but no word that all came."""
    fetched(store, tmp_path, voxel_size=(4.0,) * 3)
    ledger = tmp_path / LEDGER
    lines = ledger.read_text().splitlines()
    chunk = "s0/3.3.4"  # within the crop, in the middle of others
    (tmp_path / RAW.format("jrc_a") / chunk).unlink()
    kept = [line for line in lines if '"array"' not in line and chunk not in line]
    ledger.write_text("\n".join(kept))
    with pytest.raises(DataError, match=r"the raw of crop7 was not fetched at the 4 × 4 × 4 nm"):
        the_crop(tmp_path, settings())


def test_chunks_that_were_lost_since_they_were_fetched_are_told_with_the_command(store, tmp_path):
    fetched(store, tmp_path, voxel_size=(4.0,) * 3)
    gone = tmp_path / RAW.format("jrc_a") / "s0/3.3.4"
    gone.unlink()
    with pytest.raises(DataError, match=r"lacks 1 chunk there.*--crops crop7 --voxel-size"):
        the_crop(tmp_path, settings())
    fetched(store, tmp_path, voxel_size=(4.0,) * 3)
    assert gone.is_file()
    np.testing.assert_array_equal(seen(the_crop(tmp_path, settings()))[:, 4:24], RAW_4[CORE])


def test_chunks_of_zeros_have_no_file_and_are_data_where_the_fetch_says_so(tmp_path):
    black = RAW_4.copy()
    black[16:24, 16:40, 24:40] = 0
    store = published(tmp_path / "store", {"7": GRID}, raw=black, chunks=8)
    raw = the_crop(fetched(store, tmp_path / "d", padding=4), settings())
    np.testing.assert_array_equal(seen(raw)[raw.core.slices], black[CORE])


def test_raw_that_is_not_there_at_all_is_named_with_crop_path_and_command(store, tmp_path):
    fetched(store, tmp_path)
    (tmp_path / "jrc_a").rename(tmp_path / "jrc_b")
    message = (
        rf"the raw of crop7 was not fetched: {tmp_path / RAW.format('jrc_a')} is missing. Get it "
        rf"with `baselines fetch SOURCE --dest {tmp_path} --crops crop7`"
    )
    with pytest.raises(DataError, match=message):
        the_crop(tmp_path, settings())


def test_a_crop_outside_its_raw_is_told_with_both_places(tmp_path):
    far = dataclasses.replace(GRID, offset=(9000.0, 82.0, 98.0))
    published(tmp_path, {"7": far}, raw=RAW_4)
    with pytest.raises(DataError, match=r"crop7 lies outside its raw.*9000 × 82 × 98 nm, the raw"):
        the_crop(tmp_path, settings())


def test_a_tree_that_we_did_not_fetch_is_taken_as_it_is(store):
    raw = the_crop(store, settings())
    assert raw.core == Box((4, 4, 4), (20, 24, 28))
    np.testing.assert_array_equal(seen(raw)[raw.core.slices], RAW_4[CORE])


def test_a_tree_of_other_tools_that_lacks_a_chunk_is_refused_unless_the_chunk_is_black(tmp_path):
    root = published(tmp_path, {"7": GRID}, raw=RAW_4, chunks=8)
    raw = tmp_path / RAW.format("jrc_a")
    (raw / "s0/3.3.4").unlink()
    with pytest.raises(DataError, match=r"lacks 1 chunk there.*say --set data.absent=black"):
        the_crop(root, settings())
    found = the_crop(root, settings(absent="black"))
    expected = RAW_4.copy()
    expected[24:32, 24:32, 32:40] = 0
    np.testing.assert_array_equal(seen(found)[found.core.slices], expected[CORE])
    # What lies beside the crop is context, which may be missing.
    published(tmp_path / "other", {"7": GRID}, raw=RAW_4, chunks=8)
    (tmp_path / "other" / RAW.format("jrc_a") / "s0/1.3.4").unlink()
    found = the_crop(tmp_path / "other", settings())
    np.testing.assert_array_equal(seen(found)[found.core.slices], RAW_4[CORE])
    assert seen(found).min() > 0


def test_in_a_data_folder_of_ours_a_chunk_without_a_file_is_black_unless_it_was_fetched_into(
    phantom, tmp_path
):
    shutil.copytree(phantom.root, tmp_path / "d")
    (subject,) = hidden_crops(DataFolder(tmp_path / "d"))
    offset = open_volume(subject.raw).grid.offset
    shutil.rmtree(subject.raw)
    values = RAW_4[:12, :64, :64].copy()
    values[:8, 8:16, 8:16] = 0  # one chunk, which has no file
    pyramid(subject.raw, {8.0: values}, corner=tuple(o - 4.0 for o in offset))
    assert not (subject.raw / "s0/0.1.1").exists()
    np.testing.assert_array_equal(seen(subject.open(settings(8.0))), values)
    (tmp_path / "d" / LEDGER).write_text("")
    with pytest.raises(DataError, match="lacks 1 chunk there"):
        subject.open(settings(8.0))


def test_the_margin_is_an_overlap_or_what_a_larger_tile_sees_and_planes_of_context():
    assert margin_of(settings(), (40, 40, 40)) == (4, 4, 4)
    assert margin_of(settings(tile=(16, 32, 32)), (16, 20, 40)) == (4, 6, 4)
    planes = build(
        Config,
        {
            "model": {"dims": 2, "context": 2},
            "prediction": {"tile": [1, 32, 32], "overlap": [0, 8, 8]},
        },
        where="",
    )  # fmt: skip
    assert margin_of(planes, (10, 64, 64)) == (2, 8, 8)
    turned = dataclasses.replace(
        planes, prediction=dataclasses.replace(planes.prediction, orthoplanes=True)
    )
    assert margin_of(turned, (10, 64, 64)) == (13, 8, 8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Tests only read it."""
    return run_in(
        tmp_path_factory.mktemp("run"), tiny_volume(), voxel_size=(4.0,) * 3,
        results={"thresholds": {"cell": 0.5, "mem": 0.5}},
    )  # fmt: skip


def stored(folder, crop, label="mem"):
    return np.asarray(zarr.open_array(folder / crop / "probabilities" / label, mode="r")[:])


def quiet(_):
    pass


def test_a_crop_is_predicted_as_a_part_of_the_raw_that_is_there(store, run, tmp_path):
    """Its probabilities are those of the same raw as a volume of its own, cut to the crop."""
    team = team_of([run])
    (subject,) = hidden_crops(DataFolder(fetched(store, tmp_path / "d", padding=20)))
    raw = subject.open(team.config)
    assert raw.shape != raw.core.shape
    create_volume(tmp_path / "wide", raw.grid, np.uint8, multiscale=True)[:] = seen(raw)
    predict(team, [subject], tmp_path / "pred", device="cpu", progress=quiet)
    alone = Subject("wide", tmp_path / "wide")
    predict(team, [alone], tmp_path / "pred", device="cpu", progress=quiet)
    expected = stored(tmp_path / "pred", "wide")[raw.core.slices]
    found = stored(tmp_path / "pred", "crop7")
    assert found.shape == GRID.shape
    assert np.abs(found.astype(int) - expected).max() <= 1  # sums in another order
    assert (found > 0).all()
    for label in ("cell", "mem"):
        assert open_volume(tmp_path / "pred/crop7" / label).grid == GRID


def test_more_context_that_was_fetched_later_makes_a_prediction_anew(store, run, tmp_path):
    def blocks():
        said = []
        subjects = hidden_crops(DataFolder(tmp_path / "d"))
        predict(team_of([run]), subjects, tmp_path / "pred", device="cpu", progress=said.append)
        return sum("block" in line for line in said)

    fetched(store, tmp_path / "d")
    assert blocks() > 0
    assert blocks() == 0
    fetched(store, tmp_path / "d", padding=20)
    assert blocks() > 0


def test_what_was_not_fetched_is_told_before_any_crop_is_predicted(run, tmp_path):
    other = dataclasses.replace(GRID, offset=(66.0, 210.0, 98.0))
    store = published(tmp_path / "store", {"7": GRID, "8": other}, raw=RAW_4, chunks=8)
    fetched(store, tmp_path / "d", voxel_size=(4.0,) * 3)
    (tmp_path / "d" / RAW.format("jrc_a") / "s0/3.7.4").unlink()  # of crop 8
    subjects = hidden_crops(DataFolder(tmp_path / "d"))
    with pytest.raises(DataError, match="the raw of crop8 was not fetched"):
        predict(team_of([run]), subjects, tmp_path / "pred", device="cpu", progress=quiet)
    assert not (tmp_path / "pred").exists()
