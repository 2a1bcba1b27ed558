"""What was fetched trains like what was published; what was not is no data."""

import numpy as np
import pytest

from baselines.box import Box
from baselines.fetching.fetch import fetch
from baselines.fetching.fetch_plan import Choice
from baselines.fetching.published import CELLMAP, choose, layout_of
from baselines.fetching.store import open_store
from baselines.layout import DataError
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Target, format_labels, format_manifest
from tests.baselines.data.test_data_layouts import annotated, load, whole
from tests.baselines.trees import RAW, block, halved, pyramid, specimen, tree

LABEL = Label("mito", 37, Kind.INSTANCE)


@pytest.fixture
def published(tmp_path):
    """A tree with one crop of 16^3 voxels of 4 nm at 64 nm, in raw with chunks of 8^3 voxels."""
    root = tmp_path / "store"
    raw = specimen()
    raw[24:32, 16:32, 16:32] = 0  # black chunks: they have no file, but they are data
    pyramid(root / RAW.format("jrc_a"), {4.0: raw, 8.0: halved(raw)}, chunks=8)
    tree(root, mito=block(value=5))
    grid = VoxelGrid((16, 16, 16), (4.0,) * 3, (66.0,) * 3)
    rows = [Target(Crop("7", "jrc_a"), LABEL, grid)]
    (root / CELLMAP.manifest).write_text(format_manifest(rows))
    (root / "labels.toml").write_text(format_labels([LABEL]))
    return root


def fetched(published, dest, **choice):
    store = open_store(str(published))
    wanted = choose(store, layout_of(store), crops="all", labels=())
    fetch(store, wanted, dest, Choice(**choice), progress=lambda _: None)
    return dest


def test_a_fetched_crop_is_the_published_one_without_the_raw_around_it(published, tmp_path):
    _, here, _ = load(fetched(published, tmp_path / "d"))
    _, there, _ = load(published)
    one, other = here["crop7"], there["crop7"]
    assert one.grid == other.grid
    assert one.known == {"mito": Box((1, 8, 8), (17, 24, 24))}
    # Without the ledger of what was fetched, nobody can tell black from missing.
    assert other.known == {"mito": Box((1, 8, 8), (9, 24, 24))}
    np.testing.assert_array_equal(annotated(one, "mito"), block(value=5))
    assert one.valid.shape == (16, 16, 16)  # the chunks that cover the crop
    np.testing.assert_array_equal(
        whole(one.raw)[one.valid.slices], whole(other.raw)[one.valid.slices]
    )
    assert not whole(one.raw)[0].any()  # nobody fetched it, so no patch may show it


def test_padding_makes_more_raw_data(published, tmp_path):
    _, crops, _ = load(fetched(published, tmp_path / "d", padding=8))
    assert crops["crop7"].valid.shape == (18, 32, 32)


def test_what_was_fetched_for_a_voxel_size_serves_a_model_of_that_size(published, tmp_path):
    dest = fetched(published, tmp_path / "d", voxel_size=(8.0, 8.0, 8.0))
    _, crops, _ = load(dest, voxel_size=[8.0] * 3)
    assert crops["crop7"].valid.shape == (8, 8, 8)
    with pytest.raises(DataError, match=r"more than 1.5 times as large"):
        load(dest, voxel_size=[4.0] * 3)
