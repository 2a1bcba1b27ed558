"""What prediction costs: memory that does not grow with the volume, time beside MONAI's."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from baselines.box import Box
from baselines.predicting.blockwise import predict_box
from baselines.predicting.predictors import predictor_of
from baselines.predicting.tiling import Tiling
from baselines.volumes.light import Light
from baselines.volumes.readers import InMemory
from benchmarks.memory import LABELS, peak_of_predict, run_of_eight_labels, write_ramp
from evaluator.geometry import VoxelGrid
from evaluator.volume import create_volume, open_volume

CPU = torch.device("cpu")
SWEEP = """
import json, sys
from pathlib import Path
import numpy as np, torch, zarr
from baselines.predicting.blockwise import stream
from baselines.volumes.light import Light
from baselines.predicting.output import create_stored
from baselines.predicting.tiling import Tiling, columns
from benchmarks.memory import LABELS, peak_of_predict, run_of_eight_labels, write_ramp
from evaluator.geometry import VoxelGrid
from evaluator.volume import open_volume
torch.set_num_threads(1)
raw = open_volume(Path(sys.argv[1]) / "raw")
tiling = Tiling(raw.shape, (8, 64, 64), (2, 16, 16), (16, 256, 256))
out = create_stored(
    Path(sys.argv[1]) / "out", raw.grid, channels=8, chunks=tiling.chunks(), about={}
)
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
before, most = resident(), 0
for box in columns(sorted(tiling.blocks(), key=lambda b: (b.start[1:], b.start[0]))):
    for part, found in stream(lambda x: x.expand(-1, 8, -1, -1, -1), raw, Light(0.0, 255.0),
                              box=box, tiling=tiling, channels=8, batch=4):
        out[(slice(None), *part.slices)] = found.mul_(255).to(torch.uint8).numpy()
        most = max(most, resident() - before)
print(json.dumps({"mb": most, "covered": float((np.asarray(out[0]) > 0).mean())}))
"""


def swept(folder, depth):
    grid = VoxelGrid((depth, 256, 256), (8.0, 8.0, 8.0))
    array = create_volume(folder / "raw", grid, np.uint8)
    for z in range(0, depth, 64):
        array[z : z + 64] = np.full((min(64, depth - z), 256, 256), 100, np.uint8)
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, folder], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def test_memory_does_not_grow_when_the_volume_does(tmp_path):
    few, many = (swept(tmp_path, depth) for depth in (128, 256))
    assert few["covered"] == many["covered"] == 1
    # As float32, 8 channels of the larger volume alone would take half a GB.
    assert many["mb"] < 1.1 * few["mb"] + 10
    assert many["mb"] < 300


def test_the_whole_command_needs_no_more_memory_for_twice_the_planes(tmp_path):
    run, peaks = run_of_eight_labels(tmp_path / "run"), []
    for depth in (128, 256):
        raw, out = tmp_path / f"raw-{depth}", tmp_path / f"out-{depth}"
        write_ramp(raw, depth, 256)
        peaks.append(peak_of_predict(run, raw, out))
        for label in LABELS:
            assert open_volume(out / raw.name / label).shape == (depth, 256, 256)
    # Of the planes that are more, masks alone are 67 MB, and probabilities as float32 268 MB.
    assert peaks[1] < 1.1 * peaks[0]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1), nn.SiLU(), nn.Conv3d(16, 3, 3, padding=1)
    ).eval()


def test_prediction_is_as_fast_as_the_sliding_window_of_monai_and_says_the_same(network):
    raw = np.random.default_rng(0).normal(size=(32, 128, 128)).astype(np.float32)
    tiling = Tiling(raw.shape, (16, 64, 64), (4, 16, 16), (16, 128, 128))
    predictor = predictor_of(network, device=CPU, bf16=False)

    def ours():
        return predict_box(
            predictor, InMemory(raw), Light(0.0, 1.0), box=Box((0, 0, 0), raw.shape),
            tiling=tiling, channels=3, batch=4,
        )  # fmt: skip

    def monai():
        with torch.inference_mode():
            return sliding_window_inference(
                torch.from_numpy(raw[None, None]), tiling.tile, 4,
                lambda x: network(x).sigmoid(), overlap=0.25, mode="gaussian",
            )[0].numpy()  # fmt: skip

    # Seconds of processor, one way after the other, the best of five: others may work beside us.
    seconds = {ours: [], monai: []}
    for _ in range(5):
        for way, taken in seconds.items():
            begun = time.process_time()
            way()
            taken.append(time.process_time() - begun)
    # The bells differ where only rims of tiles are: theirs are cut off below in all axes together.
    assert np.abs(ours() - monai()).mean() < 0.003
    assert min(seconds[ours]) < min(seconds[monai]) / 0.95
