"""From a bucket to a score: test crops are fetched, predicted, packed and scored."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from baselines.fetching.published import CELLMAP
from evaluator.geometry import VoxelGrid
from evaluator.manifest import (
    Crop,
    Kind,
    Label,
    Target,
    format_labels,
    format_manifest,
    load_manifest,
)
from evaluator.protocol import CRISTA_1
from evaluator.runner import score_submission
from evaluator.scores import Status
from evaluator.volume import create_volume, open_volume
from tests.baselines.serving import bucket_server

LABELS = (Label("cell", 60, Kind.INSTANCE), Label("mem", 75, Kind.SEMANTIC))
BOXES = {"557": ((0, 8, 8), (12, 40, 56)), "558": ((2, 16, 24), (10, 64, 64))}  # in voxels of raw


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def published(phantom, tmp_path_factory):
    """The phantom's hidden crop as raw of a tree, with two test crops in it, and their truth."""
    root = tmp_path_factory.mktemp("published")
    raw = phantom.root / "hidden/phantom-hidden-1/raw"
    shutil.copytree(raw, root / "tree" / CELLMAP.raw.format(dataset="jrc_p"))
    whole, targets = open_volume(raw).grid, []
    for name, (start, stop) in BOXES.items():
        offset = tuple(o + 8.0 * n for o, n in zip(whole.offset, start, strict=True))
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        for label in LABELS:
            target = Target(Crop(name, "jrc_p"), label, VoxelGrid(shape, (8.0,) * 3, offset))
            truth = phantom.challenge / "truth.zarr/phantom-hidden-1" / label.name
            out = create_volume(root / "truth" / target.path, target.grid, np.uint32)
            out[:] = open_volume(truth).read()[tuple(map(slice, start, stop))]
            targets.append(target)
    (root / "tree" / CELLMAP.test_manifest).write_text(format_manifest(targets))
    (root / "tree/labels.toml").write_text(format_labels(LABELS))
    return root


def scored(submission, published, manifest):
    return score_submission(
        submission, truth=published / "truth", manifest=manifest, protocol=CRISTA_1
    )


def test_test_crops_go_from_the_bucket_to_a_score(phantom, published, command):
    done = command(
        "train", "unet2d", "--data", phantom.root, "--out", "run", "--device", "cpu",
        "--set", "training.iterations=60", "--set", "model.width=8", "--set", "model.levels=2",
        "--set", "training.patch=[1,32,32]", "--set", "data.labels=['cell','mem']",
    )  # fmt: skip
    assert done[0] == 0, done
    with bucket_server(published / "tree") as endpoint:
        source = ("s3://open-data/of/all", "--endpoint", endpoint, "--dest", "tree")
        one = command("fetch", *source, "--crops", "557", "--raw-padding", "8")
        assert one[0] == 0, one
        alone = command("predict", "run", "--data", "tree", "--out", "alone", "--device", "cpu")
        assert alone[0] == 0, alone
        assert "alone holds 1 prediction\n" in alone[1]
        more = command("fetch", *source, "--crops", "test", "--raw-padding", "8")
        assert more[0] == 0, more
    both = command("predict", "run", "--data", "tree", "--out", "pred", "--device", "cpu")
    assert both[0] == 0, both
    assert "pred holds 2 predictions\n" in both[1]
    packed = command("pack", "pred", "--manifest", "tree", "--out", "submission.zip")
    assert packed == (0, "submission.zip: accepted\n")
    manifest = load_manifest(published / "tree" / CELLMAP.test_manifest)
    result = scored(Path("submission.zip"), published, manifest)
    voxels = [open_volume(published / "truth" / f"crop{name}/mem").read() > 0 for name in BOXES]
    everywhere = sum(mask.sum() for mask in voxels) / sum(mask.size for mask in voxels)
    assert result.semantic > 1.2 * everywhere  # the score of calling every voxel a membrane
    assert {target.path: target.status for target in result.targets} == dict.fromkeys(
        manifest.by_path, Status.SCORED
    )

    partly = command("pack", "alone", "--manifest", published / "tree", "--out", "part.zip")
    assert partly[0] == 0
    assert "no prediction of crop558: make them with `baselines predict RUN" in partly[1]
    assert 0 < scored(Path("part.zip"), published, manifest).semantic < result.semantic
