import json

import numpy as np

from baselines.levels import open_level
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume

GRID = VoxelGrid((6, 8, 8), (8.0, 8.0, 8.0))


def test_the_level_with_the_models_voxel_size_is_read(tmp_path):
    path = tmp_path / "raw"
    create_volume(path, GRID, np.uint8, multiscale=True)
    coarse = VoxelGrid((6, 4, 4), (8.0, 16.0, 16.0))
    create_volume(path / "s1", coarse, np.uint8, multiscale=False)
    attributes = json.loads((path / ".zattrs").read_text())
    scale = [{"type": "scale", "scale": [8, 16, 16]}]
    attributes["multiscales"][0]["datasets"].append(
        {"path": "s1", "coordinateTransformations": scale}
    )
    (path / ".zattrs").write_text(json.dumps(attributes))
    assert open_level(path, (8.0, 16.0, 16.0)).shape == (6, 4, 4)
    assert open_level(path, (8.0, 8.0, 8.0)).shape == (6, 8, 8)
    assert open_level(path, ()).shape == (6, 8, 8)
