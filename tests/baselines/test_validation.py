import numpy as np
import pytest
import torch
from torch import nn

from baselines.config import Config, build
from baselines.crops import make_crop
from baselines.readers import InMemory
from baselines.validation import validate
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind

CPU = torch.device("cpu")
SEMANTIC, INSTANCE = {"a": Kind.SEMANTIC, "b": Kind.SEMANTIC}, {"a": Kind.INSTANCE}


class BrightIsLabel(nn.Module):
    """A network whose probability is a known function of the grey value, alike for all labels."""

    multiple = (1, 4, 4)

    def __init__(self, labels, slope=4.0):
        super().__init__()
        self.labels, self.slope = labels, slope

    def forward(self, raw):
        return (self.slope * raw).expand(-1, self.labels, -1, -1, -1)


def settings(labels, **objects):
    return build(
        Config,
        {
            "data": {"labels": labels},
            "objects": objects,
            "prediction": {"tile": [1, 16, 16], "overlap": [0, 4, 4], "block": [4, 32, 32]},
        },
        where="",
    )


def crop(labels, raw, *, validation=0.5, voxel_size=(8.0, 8.0, 8.0)):
    grid = VoxelGrid(raw.shape, voxel_size)
    readers = {name: InMemory(array) for name, array in labels.items()}
    return make_crop("a", grid, InMemory(raw), readers, validation=validation)


def halves():
    """Raw whose right half is bright, and the label that says so."""
    label = np.zeros((4, 16, 16), np.uint8)
    label[..., 8:] = 1
    return (60 + 120 * label).astype(np.uint8), label


def run(model, crops, config, kinds):
    return validate(model, crops, config, kinds, device=CPU, bf16=False)


def test_a_network_that_is_right_gets_full_marks():
    raw, label = halves()
    found = run(BrightIsLabel(1), [crop({"a": label}, raw)], settings(["a"]), SEMANTIC)
    assert found.dice == {"a": 1.0}
    assert found.mean == 1.0
    assert found.quality == {}


def test_a_network_that_is_wrong_everywhere_gets_none():
    raw, label = halves()
    model = BrightIsLabel(1, slope=-4.0)
    found = run(model, [crop({"a": label}, raw)], settings(["a"]), SEMANTIC)
    assert found.dice["a"] == 0.0


def test_without_validation_planes_there_is_nothing_to_say():
    raw, label = halves()
    whole = crop({"a": label}, raw, validation=0.0)
    assert run(BrightIsLabel(1), [whole], settings(["a"]), SEMANTIC) is None


def test_only_the_planes_kept_from_training_count():
    raw, label = halves()
    label[:2] = 1 - label[:2]  # the first half, for training, is annotated the wrong way round
    found = run(BrightIsLabel(1), [crop({"a": label}, raw)], settings(["a"]), SEMANTIC)
    assert found.dice["a"] == 1.0


def test_a_crop_where_a_label_is_not_annotated_says_nothing_about_it():
    raw, label = halves()
    crops = [crop({"a": label}, raw), crop({"b": 1 - label}, raw)]
    found = run(BrightIsLabel(2), crops, settings(["a", "b"]), SEMANTIC)
    assert found.dice["a"] == 1.0
    assert found.dice["b"] == 0.0


def test_the_threshold_of_a_mask_is_moved_to_where_dice_is_best():
    # Grey 0 .. 15 across, and the label begins at a probability far above one half.
    raw = np.broadcast_to(np.arange(16, dtype=np.uint8) * 10 + 20, (4, 16, 16)).copy()
    label = (raw >= 140).astype(np.uint8)
    found = run(BrightIsLabel(1, slope=1.0), [crop({"a": label}, raw)], settings(["a"]), SEMANTIC)
    assert found.thresholds["a"] > 0.6
    assert found.dice["a"] > 0.9


def two_objects_and_a_bridge():
    """Two bright squares joined by a greyer bridge, and their ids, without the bridge."""
    ids = np.zeros((4, 32, 32), np.uint8)
    ids[:, 4:14, 4:14], ids[:, 4:14, 18:28] = 1, 2
    raw = np.where(ids > 0, 180, 60).astype(np.uint8)
    raw[:, 8:10, 14:18] = 140
    return raw, ids


def test_the_threshold_of_objects_is_one_that_keeps_them_apart():
    raw, ids = two_objects_and_a_bridge()
    model = BrightIsLabel(1, slope=1.0)
    found = run(model, [crop({"a": ids}, raw)], settings(["a"]), INSTANCE)
    light = crop({"a": ids}, raw).light
    bridge = 1 / (1 + np.exp(-float(light.normalise(np.array(140.0)))))
    assert found.quality["a"] == pytest.approx(1.0)
    assert found.thresholds["a"] > bridge


def test_objects_that_were_learnt_smaller_are_judged_after_growing_back():
    raw, ids = two_objects_and_a_bridge()
    narrow = np.zeros_like(raw)
    narrow[:, 6:12, 6:12], narrow[:, 6:12, 20:26] = 200, 200
    config = settings(["a"], shrink={"a": 2})
    found = run(BrightIsLabel(1), [crop({"a": ids}, narrow + 20)], config, INSTANCE)
    assert found.dice["a"] == 1.0  # the target is shrunk as well
    # a square of 6 grown twice by a cross: 36, 2 x 24 at its sides, 4 at its corners, of 100
    assert found.quality["a"] == pytest.approx(0.88)


def test_one_number_stands_for_all_labels():
    raw, label = halves()
    crops = [crop({"a": label, "b": 1 - label}, raw)]
    found = run(BrightIsLabel(2), crops, settings(["a", "b"]), SEMANTIC)
    assert found.mean == 0.5
    assert set(found.to_json()) == {"dice", "quality", "thresholds"}


def test_a_tall_crop_is_looked_at_in_part(monkeypatch):
    raw, label = halves()
    monkeypatch.setattr("baselines.validation.MOST_VOXELS", 16 * 16)
    label[3:] = 1 - label[3:]  # wrong in the last plane, which is not reached
    found = run(BrightIsLabel(1), [crop({"a": label}, raw)], settings(["a"]), SEMANTIC)
    assert found.dice["a"] == 1.0
