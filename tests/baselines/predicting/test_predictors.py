import pytest
import torch
from torch import nn

from baselines.models import build_model
from baselines.predicting.predictors import MIRRORED, predictor_of
from tests.baselines.conftest import tiny, tiny_volume

CPU = torch.device("cpu")


class Constant(nn.Module):
    """A network that is as sure of everything as it is told."""

    def __init__(self, *probabilities):
        super().__init__()
        self.logits = torch.tensor(probabilities).logit()

    def forward(self, raw):
        n, _, *space = raw.shape
        return self.logits.reshape(1, -1, 1, 1, 1).expand(n, -1, *space)


class Leaning(nn.Module):
    """A network that sees each voxel's neighbour in front, above and to the left."""

    def forward(self, raw):
        return raw.roll((1, 1, 1), dims=(2, 3, 4))


def predict(*models, raw=None, **settings):
    raw = torch.zeros(1, 1, 2, 3, 4) if raw is None else raw
    return predictor_of(*models, device=CPU, bf16=False, **settings)(raw)


def test_one_network_gives_its_probabilities():
    found = predict(Constant(0.2, 0.7))
    assert found.shape == (1, 2, 2, 3, 4)
    torch.testing.assert_close(found[0, :, 0, 0, 0], torch.tensor([0.2, 0.7]))


@pytest.mark.parametrize(("settings", "together"), [(tiny(), 1), (tiny_volume(), 3)])
@pytest.mark.parametrize("mirror", ["none", "plane"])
def test_on_a_cpu_planes_go_through_one_by_one_and_say_what_they_say_together(
    settings, together, mirror
):
    torch.manual_seed(0)
    model = build_model(settings.model, channels=2, voxel_size=(8.0, 8.0, 8.0)).eval()
    sizes = set()
    raw = torch.randn(3, 1, *settings.prediction.tile)
    with torch.inference_mode():
        expected = sum(
            model(raw.flip(axes)).sigmoid().flip(axes) for axes in MIRRORED[mirror]
        ) / len(MIRRORED[mirror])  # fmt: skip
    model.register_forward_pre_hook(lambda _, seen: sizes.add(len(seen[0])))
    torch.testing.assert_close(predict(model, raw=raw, mirror=mirror), expected)
    assert sizes == {together}


def test_several_networks_give_their_mean():
    found = predict(Constant(0.2, 0.9), Constant(0.4, 0.1), Constant(0.9, 0.5))
    torch.testing.assert_close(found[0, :, 1, 2, 3], torch.tensor([0.5, 0.5]))


def test_networks_are_put_to_predicting():
    model = nn.Sequential(nn.Dropout(0.5)).train()
    raw = torch.ones(1, 1, 4, 4, 4)
    torch.testing.assert_close(predict(model, raw=raw), raw.sigmoid())


@pytest.mark.parametrize(("mirror", "votes"), [("none", 1), ("plane", 4), ("all", 8)])
def test_mirrored_tiles_are_turned_back_before_they_are_averaged(mirror, votes):
    torch.manual_seed(0)
    raw = torch.randn(2, 1, 4, 5, 6)
    assert len(set(MIRRORED[mirror])) == votes
    shifts = {
        "none": [(1, 1, 1)],
        "plane": [(1, y, x) for y in (1, -1) for x in (1, -1)],
        "all": [(z, y, x) for z in (1, -1) for y in (1, -1) for x in (1, -1)],
    }
    # What looks left in a tile that is turned round looks right in the tile as it was.
    expected = torch.stack([raw.roll(s, (2, 3, 4)).sigmoid() for s in shifts[mirror]]).mean(0)
    torch.testing.assert_close(predict(Leaning(), raw=raw, mirror=mirror), expected)


def test_what_is_added_is_twice_the_deviation_of_the_votes_of_the_channels_asked_for():
    models = [Constant(0.1, 0.3, 0.0001), Constant(0.5, 0.3, 0.9999)]
    found = predict(*models, uncertain=(0, 2))
    assert found.shape[1] == 3 + 2
    torch.testing.assert_close(found[0, :3, 0, 0, 0], torch.tensor([0.3, 0.3, 0.5]))
    # (0.1 - 0.3)² = (0.5 - 0.3)² = 0.04; votes of 0 and 1 are the most that can be.
    assert found[0, 3, 0, 0, 0].item() == pytest.approx(0.4, abs=1e-5)
    assert found[0, 4, 0, 0, 0].item() == pytest.approx(1.0, abs=1e-3)


def test_deviation_and_mean_are_those_of_all_votes_together():
    torch.manual_seed(1)
    raw = torch.randn(1, 1, 4, 4, 4)
    both = predict(Leaning(), Constant(0.4), raw=raw, mirror="all", uncertain=(0,))
    votes = [raw.flip(a).roll((1, 1, 1), (2, 3, 4)).flip(a).sigmoid() for a in MIRRORED["all"]]
    votes = torch.stack([*votes, *[torch.full_like(raw, 0.4)] * 8])
    torch.testing.assert_close(both[:, :1], votes.mean(0))
    torch.testing.assert_close(both[:, 1:], 2 * votes.std(0, correction=0))
    assert both.min() >= 0


def test_networks_that_agree_deviate_by_nothing():
    found = predict(Constant(0.3), Constant(0.3), uncertain=(0,))
    assert found[:, 1].max() < 1e-6
