"""Whatever is predicted, in whatever store it lies: its submission is accepted and holds it."""

import numpy as np
import pytest
import zarr

from baselines.predicting.pack import pack
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Crop, Kind, Label, Manifest, Target
from evaluator.submission import check_submission, open_submission
from evaluator.volume import create_volume

CROP = Crop("7", "d")
SIZE, OFFSET = (8.0, 4.0, 4.0), (16.0, 0.0, 8.0)
MASKS = (Label("mem", 75, Kind.SEMANTIC), Label("er", 51, Kind.SEMANTIC))
OBJECTS = (Label("mito", 50, Kind.INSTANCE),)
STEPS = [
    {"type": "scale", "scale": list(SIZE)}, {"type": "translation", "translation": list(OFFSET)}
]  # fmt: skip
OME = {
    "version": "0.5",
    "multiscales": [{
        "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"],
        "datasets": [{"path": "s0", "coordinateTransformations": STEPS}],
    }],
}  # fmt: skip


def plain_v2(path, grid, dtype):
    return create_volume(path, grid, dtype)


def ome_v2(path, grid, dtype):
    return create_volume(path, grid, dtype, multiscale=True)


def plain_v3(path, grid, dtype):
    array = zarr.create_array(
        path, shape=grid.shape, dtype=dtype, chunks=(2, 16, 16), zarr_format=3, fill_value=0
    )
    array.attrs.update({"voxel_size": list(SIZE), "translation": list(OFFSET)})
    return array


def ome_v3(path, grid, dtype):
    zarr.open_group(path, mode="w", zarr_format=3, attributes={"ome": OME})
    return zarr.create_array(
        path / "s0", shape=grid.shape, dtype=dtype, shards=(4, 32, 32), chunks=(2, 16, 16),
        zarr_format=3, fill_value=0,
    )  # fmt: skip


def values(label, shape, seed):
    """A mask, or numbered boxes, one of them with an id above 65,535."""
    random = np.random.default_rng(seed)
    if label.kind is Kind.SEMANTIC:
        return (random.random(shape) > 0.6).astype(np.uint8)
    ids = np.zeros(shape, np.uint32)
    ids[:, :9, :9], ids[:, 9:, 9:], ids[:, 20:, :5] = 1, 70_000, 12
    return ids


@pytest.mark.parametrize("make", [plain_v2, ome_v2, plain_v3, ome_v3])
@pytest.mark.parametrize("shape", [(1, 40, 33), (9, 40, 33)], ids=["2D", "3D"])
@pytest.mark.parametrize(
    "labels", [MASKS[:1], MASKS, OBJECTS, (*MASKS, *OBJECTS)],
    ids=["one label", "labels", "objects", "labels and objects"],
)  # fmt: skip
def test_every_kind_of_prediction_is_packed_from_every_kind_of_store(tmp_path, make, shape, labels):
    grid = VoxelGrid(shape, SIZE, OFFSET)
    manifest = Manifest(tuple(Target(CROP, label, grid) for label in labels))
    stored = {}
    for seed, target in enumerate(manifest.targets):
        stored[target] = values(target.label, shape, seed)
        path = tmp_path / target.path
        path.parent.mkdir(exist_ok=True)
        make(path, grid, stored[target].dtype)[:] = stored[target]
    report = pack(tmp_path, manifest, tmp_path / "out.zip")
    assert report == check_submission(tmp_path / "out.zip", manifest)
    assert report.accepted
    assert not report.problems
    assert report.targets == dict.fromkeys((target.path for target in manifest.targets), "ok")
    submission = open_submission(tmp_path / "out.zip", manifest)
    for target, expected in stored.items():
        np.testing.assert_array_equal(submission.read(target), expected)
