import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from baselines.box import Box
from baselines.config import Config, build
from baselines.objects.heads import heads_of
from baselines.predicting.doubt import Part
from baselines.predicting.tiling import Tiling
from baselines.training.validation import (
    look,
    looks,
    part_of_tiles,
    shared,
    tune_objects,
    validate,
)
from baselines.volumes.readers import InMemory
from evaluator.geometry import VoxelGrid
from evaluator.manifest import Kind
from tests.baselines.made_crops import make_crop

CPU = torch.device("cpu")


class BrightIsLabel(nn.Module):
    """A network whose probability is a known function of the grey value, alike for all channels."""

    multiple = (1, 4, 4)

    def __init__(self, channels, slope=4.0):
        super().__init__()
        self.channels, self.slope = channels, slope

    def forward(self, raw):
        return (self.slope * raw).expand(-1, self.channels, -1, -1, -1)


class Counted(BrightIsLabel):
    """The same; it remembers how many tiles went through."""

    tiles = 0

    def forward(self, raw):
        self.tiles += len(raw)
        return super().forward(raw)


class RightQuarter(BrightIsLabel):
    """The second of two labels is found in the right quarter alone, and less surely."""

    def forward(self, raw):
        found = super().forward(raw).clone()
        found[:, 1] /= 2
        found[:, 1, ..., :12] = -3
        return found


class NothingIsThere(BrightIsLabel):
    """A network that is nearly sure of background."""

    def forward(self, raw):
        return super().forward(0 * raw) - 3


def settings(labels, **loss):
    return build(
        Config,
        {
            "data": {"labels": labels},
            "loss": loss,
            "prediction": {"tile": [1, 16, 16], "overlap": [0, 4, 4], "block": [4, 32, 32]},
        },
        where="",
    )


def crop(labels, raw, *, validation=0.5, known=None):
    grid = VoxelGrid(raw.shape, (8.0, 8.0, 8.0))
    readers = {name: InMemory(array) for name, array in labels.items()}
    return make_crop("a", grid, InMemory(raw), readers, validation=validation, known=known)


def halves():
    """Raw whose right half is bright, and the label that says so."""
    label = np.zeros((4, 16, 16), np.uint8)
    label[..., 8:] = 1
    return (60 + 120 * label).astype(np.uint8), label


def heads_for(config):
    return heads_of(config.data.labels, {}, config.objects, (8.0, 8.0, 8.0), planar=True)


def run(model, crops, config):
    return validate(model, crops, config, heads_for(config), device=CPU, bf16=False)


def test_a_network_that_is_right_gets_full_marks_and_a_small_loss():
    raw, label = halves()
    found = run(BrightIsLabel(1), [crop({"a": label}, raw)], settings(["a"]))
    assert found.dice == {"a": 1.0}
    assert found.mean == 1.0
    assert found.loss < 0.1


def test_a_network_that_is_wrong_everywhere_gets_none_and_a_large_loss():
    raw, label = halves()
    found = run(BrightIsLabel(1, slope=-4.0), [crop({"a": label}, raw)], settings(["a"]))
    assert found.dice["a"] == 0.0
    assert found.loss > 2


def test_undecided_voxels_cost_ln_two():
    raw, label = halves()
    config = settings(["a"], kind="bce", most_weight=1.0)
    found = run(BrightIsLabel(1, slope=0.0), [crop({"a": label}, raw)], config)
    assert found.loss == pytest.approx(math.log(2), abs=1e-4)


def test_without_validation_planes_there_is_nothing_to_say():
    raw, label = halves()
    whole = crop({"a": label}, raw, validation=0.0)
    assert run(BrightIsLabel(1), [whole], settings(["a"])) is None


def test_only_the_planes_kept_from_training_count():
    raw, label = halves()
    label[:2] = 1 - label[:2]  # the first half, for training, is annotated the wrong way round
    found = run(BrightIsLabel(1), [crop({"a": label}, raw)], settings(["a"]))
    assert found.dice["a"] == 1.0


def test_a_crop_where_a_label_is_not_annotated_says_nothing_about_it():
    raw, label = halves()
    crops = [crop({"a": label}, raw), crop({"b": 1 - label}, raw)]
    found = run(BrightIsLabel(2), crops, settings(["a", "b"]))
    assert found.dice["a"] == 1.0
    assert found.dice["b"] == 0.0
    assert found.mean == 0.5


def test_a_label_that_is_annotated_in_training_planes_only_has_no_dice():
    raw, label = halves()
    known = {"a": Box((0, 0, 0), (4, 16, 16)), "b": Box((0, 0, 0), (1, 16, 16))}
    found = run(
        BrightIsLabel(2), [crop({"a": label, "b": label}, raw, known=known)], settings(["a", "b"])
    )  # fmt: skip
    assert found.dice == {"a": 1.0}
    assert set(found.thresholds) == {"a", "b"}


def test_the_threshold_of_a_mask_is_moved_to_where_dice_is_best():
    # Grey 0 .. 15 across, and the label begins at a probability far above one half.
    raw = np.broadcast_to(np.arange(16, dtype=np.uint8) * 10 + 20, (4, 16, 16)).copy()
    label = (raw >= 140).astype(np.uint8)
    found = run(BrightIsLabel(1, slope=1.0), [crop({"a": label}, raw)], settings(["a"]))
    assert found.thresholds["a"] > 0.6
    assert found.dice["a"] == 1.0


def test_a_tall_crop_is_looked_at_in_part(monkeypatch):
    raw, label = halves()
    monkeypatch.setattr("baselines.training.validation.MOST_VOXELS", 16 * 16)
    label[3:] = 1 - label[3:]  # wrong in the last plane, which is not reached
    found = run(BrightIsLabel(1), [crop({"a": label}, raw)], settings(["a"]))
    assert found.dice["a"] == 1.0


def limited(config, tiles):
    training = dataclasses.replace(config.training, validation_tiles=tiles)
    return dataclasses.replace(config, training=training)


def wide():
    """Raw of 4 x 40 x 40 voxels, of which 3 x 3 tiles make a plane, and its bright label."""
    label = np.zeros((4, 40, 40), np.uint8)
    label[:, 10:30, 10:30] = 1
    return (60 + 120 * label).astype(np.uint8), label


@pytest.mark.parametrize("most", [1, 2, 3, 5, 9, 12, 18, 36])
def test_no_more_tiles_go_through_than_are_asked_for(most):
    raw, label = wide()
    crops = [crop({"a": label}, raw), crop({"a": label}, raw)]  # 2 planes of each validate
    model = Counted(1)
    run(model, crops, limited(settings(["a"]), most))
    assert most / 2 < model.tiles <= most


def test_a_limit_that_is_not_reached_changes_nothing():
    raw, label = wide()
    small = crop({"a": label[:, :16, :16]}, raw[:, :16, :16])
    crops = [crop({"a": label}, raw), small]
    config, models = settings(["a"]), [Counted(1), Counted(1)]
    found = [run(models[0], crops, config), run(models[1], crops, limited(config, 20))]
    assert models[0].tiles == models[1].tiles == 20
    assert found[0] == found[1]


def test_every_box_has_its_share_and_what_small_ones_leave_goes_to_large_ones():
    assert shared(10, [3, 3, 3]) == [3, 3, 3]
    assert shared(11, [20, 1, 20]) == [5, 1, 5]
    assert shared(2, [5, 5, 5]) == [0, 1, 1]
    assert shared(7, []) == []


def test_the_first_planes_are_looked_at_then_rows_of_one_and_no_less_than_a_tile():
    tiling = Tiling((4, 40, 40), (1, 16, 16), (0, 4, 4), (4, 40, 40))
    box = Box((1, 0, 0), (4, 40, 40))
    assert part_of_tiles(box, tiling, 27) == box
    assert part_of_tiles(box, tiling, 20) == Box((1, 0, 0), (3, 40, 40))
    assert part_of_tiles(box, tiling, 6) == Box((1, 0, 0), (2, 24, 40))
    assert part_of_tiles(box, tiling, 2) == Box((1, 0, 0), (2, 12, 24))
    assert part_of_tiles(box, tiling, 1) == Box((1, 0, 0), (2, 12, 12))


def test_a_box_that_begins_between_two_tiles_gives_more_than_a_sliver():
    tiling = Tiling((1, 40, 40), (1, 16, 16), (0, 4, 4), (1, 40, 40))
    box = Box((0, 11, 11), (1, 40, 40))
    assert part_of_tiles(box, tiling, 1) == Box((0, 28, 28), (1, 40, 40))


def test_where_tiles_overlap_by_half_one_voxel_is_the_least():
    tiling = Tiling((1, 16, 64), (1, 16, 16), (0, 8, 8), (1, 16, 64))
    box = Box((0, 0, 16), (1, 16, 48))
    assert part_of_tiles(box, tiling, 1) == Box((0, 0, 16), (1, 16, 24))


def test_the_same_voxels_are_looked_at_each_time():
    raw, label = wide()
    crops = [crop({"a": label}, raw), crop({"a": label}, raw)]
    config = limited(settings(["a"]), 5)
    boxes = [[box for _, box, _ in looks(BrightIsLabel(1), crops, config)] for _ in range(2)]
    assert boxes[0] == boxes[1]
    assert len(boxes[0]) == 2


def test_a_look_shows_all_channels_and_what_is_known_beside_them():
    raw, label = halves()
    config = settings(["a"])
    (seen,) = look(
        BrightIsLabel(1), [crop({"a": label}, raw)], config, heads_for(config), device=CPU,
        bf16=False,
    )  # fmt: skip
    assert seen.probabilities.shape == seen.ids.shape == seen.known.shape == (1, 2, 16, 16)
    np.testing.assert_array_equal(seen.ids[0], label[2:])
    np.testing.assert_array_equal(seen.probabilities[0] > 0.5, label[2:] > 0)
    assert seen.known.all()


def test_objects_beside_what_was_annotated_cost_nothing():
    raw, label = halves()
    raw[:, :, 2:5] = 180  # nobody says what this is
    known = {"a": Box((0, 0, 6), (4, 16, 16))}
    config = settings(["a"])
    objects = dataclasses.replace(config.objects, representation="components")
    trained = dataclasses.replace(config.trained, kinds={"a": str(Kind.INSTANCE)})
    config = dataclasses.replace(config, objects=objects, trained=trained)
    heads = heads_of(["a"], {"a": Kind.INSTANCE}, objects, (8.0, 8.0, 8.0), planar=True)
    found = tune_objects(
        BrightIsLabel(1), [crop({"a": label}, raw, known=known)], config, heads, device=CPU,
        bf16=False,
    )  # fmt: skip
    assert found["a"].quality == 1


def test_doubt_is_told_of_each_box_that_has_a_foreground():
    raw, label = halves()
    crops = [crop({"a": label}, raw), crop({"a": label}, raw)]
    found = run(BrightIsLabel(1), crops, settings(["a"]))
    light = crops[0].light
    p = 1 / (1 + np.exp(-4.0 * light.normalise(np.array([180.0], np.float32))[0]))
    assert found.doubts == pytest.approx([4 * p * (1 - p)] * 2, abs=0.01)
    nothing = run(NothingIsThere(1), crops, settings(["a"]))
    assert nothing.doubts == nothing.label_doubts == []


def test_doubt_is_told_of_each_label_with_its_share_of_the_foreground():
    raw, label = halves()
    model = RightQuarter(2, slope=1.0)
    found = run(model, [crop({"a": label, "b": label}, raw)], settings(["a", "b"]))
    (parts,) = found.label_doubts
    assert (parts["a"].share, parts["b"].share) == pytest.approx((2 / 3, 1 / 3))
    assert 0 < parts["a"].doubt < parts["b"].doubt
    overall = (2 * parts["a"].doubt + parts["b"].doubt) / 3
    assert found.doubts == [pytest.approx(overall, abs=1e-5)]
    (kept,) = json.loads(json.dumps(dataclasses.asdict(found)))["label_doubts"]  # as a run keeps it
    assert {name: Part(**part) for name, part in kept.items()} == parts


def test_a_label_without_foreground_has_no_doubt():
    raw, label = halves()
    raw[..., 12:] = 20  # where the second label would be
    found = run(RightQuarter(2), [crop({"a": label, "b": label}, raw)], settings(["a", "b"]))
    assert [set(parts) for parts in found.label_doubts] == [{"a"}]
