import numpy as np
import pytest

from baselines.layout import DataError, DataFolder
from baselines.predicting.pack import pack
from baselines.predicting.threshold import otsu, threshold
from evaluator.manifest import load_manifest
from evaluator.volume import open_volume


def test_otsu_lies_between_two_heaps():
    values = np.concatenate([np.full(100, 10.0), np.full(50, 90.0)])
    assert 10 < otsu(values) < 90


def test_nothing_of_a_uniform_image_is_dark():
    assert not (np.full(9, 5.0) < otsu(np.full(9, 5.0))).any()


def test_it_fills_every_target_and_is_accepted(phantom, tmp_path):
    threshold(phantom, tmp_path / "pred", progress=lambda _: None)
    report = pack(tmp_path / "pred", load_manifest(phantom.challenge), tmp_path / "out.zip")
    assert report.accepted
    assert set(report.targets.values()) == {"ok"}


def test_masks_are_the_darker_side(phantom, tmp_path):
    threshold(phantom, tmp_path, progress=lambda _: None)
    raw = open_volume(phantom.root / "hidden/phantom-hidden-1/raw").read().astype(float)
    mask = open_volume(tmp_path / "phantom-hidden-1/mem").read() > 0
    assert 0.05 < mask.mean() < 0.9
    assert raw[mask].mean() < raw[~mask].mean()


def test_missing_raw_is_named(phantom, tmp_path):
    (tmp_path / "challenge").mkdir()
    for name in ("manifest.csv", "labels.toml"):
        text = (phantom.challenge / name).read_text()
        (tmp_path / "challenge" / name).write_text(text)
    with pytest.raises(DataError, match="the raw of phantom-hidden-1 is missing"):
        threshold(DataFolder(tmp_path), tmp_path / "out", progress=lambda _: None)
