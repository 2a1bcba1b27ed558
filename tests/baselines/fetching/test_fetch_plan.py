"""Which levels and chunks a crop needs: compared with what is known by construction."""

import itertools
import json

import numpy as np
import pytest
import zarr

from baselines.box import Box
from baselines.fetching.fetch_plan import Choice, box_at, plan_fetch, raw_levels
from baselines.fetching.published import Wanted
from baselines.fetching.store import open_store
from baselines.layout import DataError
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Target
from evaluator.metadata import ArrayMeta

SIZES = ((4.0, 4.0, 4.0), (8.0, 8.0, 8.0), (16.0, 16.0, 16.0), (32.0, 32.0, 32.0))
LEVELS = [
    ArrayMeta(f"s{k}", "zarr", {}, (256 >> k,) * 3, np.dtype("u1"), (16,) * 3, size, (0.0,) * 3)
    for k, size in enumerate(SIZES)
]


def target(name="mito", *, size=8.0, start=0.0, shape=(10, 10, 10)):
    grid = VoxelGrid(shape, (size,) * 3, (start,) * 3)
    return Target(Crop("1", "ds"), Label(name, 1, Kind.SEMANTIC), grid)


def folders(levels):
    return [level.folder for level in levels]


@pytest.mark.parametrize(
    ("sizes", "choice", "expected"),
    [
        # The levels follow the finest label of the crop, and all coarser ones are small.
        ([8.0], Choice(), ["s1", "s2", "s3"]),
        ([8.0, 16.0], Choice(), ["s1", "s2", "s3"]),
        ([16.0, 32.0], Choice(), ["s2", "s3"]),
        # A label of 8.2 nm is one of 8 nm; of 6 nm the next finer one is needed.
        ([8.2], Choice(), ["s1", "s2", "s3"]),
        ([6.0], Choice(), ["s0", "s1", "s2", "s3"]),
        ([1.0], Choice(), ["s0", "s1", "s2", "s3"]),
        ([100.0], Choice(), ["s3"]),
        ([8.0], Choice(all_levels=True), ["s0", "s1", "s2", "s3"]),
        ([8.0], Choice(voxel_size=(16.0, 16.0, 16.0)), ["s2"]),
        ([8.0], Choice(voxel_size=(15.9, 16.0, 16.0)), ["s2"]),
        ([8.0], Choice(voxel_size=(15.0, 15.0, 15.0)), ["s1"]),
        ([8.0], Choice(voxel_size=(64.0, 8.0, 8.0)), ["s1"]),
        ([8.0], Choice(voxel_size=(2.0, 2.0, 2.0)), ["s0"]),
    ],
)
def test_the_levels_of_raw_follow_what_is_asked_for(sizes, choice, expected):
    targets = [target(f"l{k}", size=size) for k, size in enumerate(sizes)]
    assert sorted(folders(raw_levels(LEVELS, targets, choice))) == expected


@pytest.mark.parametrize(
    ("level", "padding", "expected"),
    [
        # Centres of the crop's voxels lie at 80 .. 152 nm, so it reaches from 76 to 156 nm; voxels
        # of s0 begin at -2 nm, those of s2 at -8 nm.
        (1, 0, Box((10, 10, 10), (20, 20, 20))),
        (0, 0, Box((19, 19, 19), (40, 40, 40))),
        (2, 0, Box((5, 5, 5), (11, 11, 11))),
        (1, 5, Box((5, 5, 5), (25, 25, 25))),
        (1, 11, Box((0, 0, 0), (31, 31, 31))),
        (1, 999, Box((0, 0, 0), (128, 128, 128))),
    ],
)
def test_the_box_covers_the_crop_to_the_edges_of_its_voxels(level, padding, expected):
    found = box_at(LEVELS[level], [target(start=80.0)], padding, where="raw")
    assert found == expected


def test_the_box_covers_all_labels_of_a_crop_and_rounding_noise_adds_nothing():
    targets = [target(start=80.0), target("nuc", size=16.0, start=84.0, shape=(6, 6, 6))]
    assert box_at(LEVELS[1], targets, 0, where="raw") == Box((10, 10, 10), (22, 22, 22))
    odd = ArrayMeta("s0", "zarr", {}, (99,) * 3, np.dtype("u1"), (16,) * 3, (1.74,) * 3, (0.1,) * 3)
    grid = VoxelGrid((10, 10, 10), (1.74,) * 3, (0.1 + 7 * 1.74,) * 3)
    one = Target(Crop("1", "ds"), Label("mito", 1, Kind.SEMANTIC), grid)
    assert box_at(odd, [one], 0, where="raw") == Box((7, 7, 7), (17, 17, 17))


def test_a_crop_outside_the_volume_is_an_error():
    with pytest.raises(DataError, match="raw ends before crop 1 begins"):
        box_at(LEVELS[0], [target(start=1e6)], 50, where="raw")


def pyramid(path, sizes, shape, *, version, chunk=16, dtype="u1", sharded=False):
    """An OME-Zarr group of zeros whose levels halve a shape; chunks are not written."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"]
    datasets = []
    for k, size in enumerate(sizes):
        level = tuple(max(1, n >> k) for n in shape)
        group.create_array(
            f"s{k}", shape=level, dtype=dtype, chunks=(chunk,) * 3, fill_value=0,
            shards=(chunk * 2,) * 3 if sharded else None,
        )  # fmt: skip
        steps = [
            {"type": "scale", "scale": list(size)},
            {"type": "translation", "translation": [size[0] / 2 - sizes[0][0] / 2] * 3},
        ]
        datasets.append({"path": f"s{k}", "coordinateTransformations": steps})
    image = {"version": "0.4", "name": "raw", "axes": axes, "datasets": datasets}
    if version == 2:
        group.attrs["multiscales"] = [image]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}


@pytest.mark.parametrize(("version", "sharded"), [(2, False), (3, False), (3, True)])
def test_exactly_the_chunks_that_meet_the_box_are_needed_and_are_named_as_they_are_stored(
    tmp_path, version, sharded
):
    pyramid(tmp_path / "em", SIZES[:2], (128, 96, 80), version=version, sharded=sharded)
    array = zarr.open_group(tmp_path / "em", mode="r+")["s1"]
    box = Box((10, 10, 10), (20, 37, 40))
    array[box.slices] = 1  # writes just the chunks that meet the box
    one = Target(
        Crop("1", "ds"), Label("mito", 1, Kind.SEMANTIC),
        VoxelGrid(box.shape, (8.0,) * 3, tuple(2.0 + 8.0 * n for n in box.start)),
    )  # fmt: skip
    wanted = Wanted((one,), "em", (), "m.csv")
    plan = plan_fetch(open_store(str(tmp_path)), [wanted], Choice(voxel_size=(8.0, 8.0, 8.0)))
    assert [(need.array, need.box) for need in plan.needs] == [("em/s1", box)]
    written = {
        str(file.relative_to(tmp_path))
        for file in (tmp_path / "em/s1").rglob("*")
        if file.is_file() and not file.name.startswith((".z", "zarr"))
    }
    assert set(plan.paths()) == written
    assert len(plan.paths()) == plan.needs[0].chunks == len(written)


def test_a_level_that_is_not_fetched_has_no_metadata_either(tmp_path):
    pyramid(tmp_path / "em", SIZES[:3], (64, 64, 64), version=2)
    wanted = Wanted((target(),), "em", (), "m.csv")
    plan = plan_fetch(open_store(str(tmp_path)), [wanted], Choice())
    assert {need.array for need in plan.needs} == {"em/s1", "em/s2"}
    names = set(plan.metadata)
    assert {"em/.zgroup", "em/.zattrs", "em/s1/.zarray", "em/s2/.zarray"} <= names
    assert not any(name.startswith("em/s0") for name in names)
    assert json.loads(plan.metadata["em/s1/.zarray"])["shape"] == [32, 32, 32]


def test_of_labels_every_level_is_taken_or_the_one_that_is_asked_for(tmp_path):
    pyramid(tmp_path / "em", SIZES, (64, 64, 64), version=2)
    pyramid(tmp_path / "gt", SIZES[1:3], (10, 10, 10), version=2, dtype="u2", chunk=8)
    wanted = [Wanted((target(),), "em", ("gt",), "m.csv")]
    store = open_store(str(tmp_path))
    plan = plan_fetch(store, wanted, Choice())
    labels = [need for need in plan.needs if need.kind == "mito"]
    assert {(n.array, n.chunks, n.chunk_bytes) for n in labels} == {
        ("gt/s0", 8, 1024), ("gt/s1", 1, 1024),
    }  # fmt: skip
    plan = plan_fetch(store, wanted, Choice(voxel_size=(16.0, 16.0, 16.0)))
    assert {need.array for need in plan.needs} == {"em/s2", "gt/s1"}


def test_chunks_that_crops_share_are_fetched_once(tmp_path):
    pyramid(tmp_path / "em", SIZES[1:2], (64, 64, 64), version=3)
    wanted = [
        Wanted((target(start=8.0 * n, shape=(20, 20, 20)),), "em", (), "m.csv") for n in (0, 4, 30)
    ]
    plan = plan_fetch(open_store(str(tmp_path)), wanted, Choice())
    paths = plan.paths()
    assert len(paths) == len(set(paths))
    first = set(itertools.product(range(2), repeat=3))
    last = set(itertools.product(range(1, 4), repeat=3))
    assert set(paths) == {f"em/s0/c/{z}/{y}/{x}" for z, y, x in first | last}


def test_a_volume_that_the_manifest_names_and_is_not_there_is_an_error(tmp_path):
    wanted = [Wanted((target(),), "em", (), "m.csv")]
    with pytest.raises(DataError, match=r"em is missing: the manifest names it"):
        plan_fetch(open_store(str(tmp_path)), wanted, Choice())


def test_a_volume_that_does_not_say_its_voxel_size_is_an_error(tmp_path):
    zarr.create_array(tmp_path / "em", shape=(8, 8, 8), dtype="u1", zarr_format=2)
    wanted = [Wanted((target(),), "em", (), "m.csv")]
    with pytest.raises(DataError, match="em does not say its voxel size in nm"):
        plan_fetch(open_store(str(tmp_path)), wanted, Choice())
