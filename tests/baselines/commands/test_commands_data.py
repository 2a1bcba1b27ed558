"""The commands around data, one after another, as a participant would type them."""

import pytest
from typer.testing import CliRunner

from baselines.cli import app
from baselines.data.split_file import read_split
from baselines.layout import DataFolder, Purpose
from tests.baselines.serving import bucket_server


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_from_a_bucket_to_a_split(phantom, tmp_path):
    data = tmp_path / "data"
    with bucket_server(phantom.root) as endpoint:
        source = ["fetch", "s3://open-data/of/all", "--endpoint", endpoint, "--dest", data]
        first = call(*source, "--dry-run")
        assert first.exit_code == 0, first.output
        assert "to fetch: 20 of 20 chunks, about" in first.output
        assert not data.exists()
        done = call(*source, "--labels", "cell,mem", "--raw-padding", "4", "--parallel", "4")
        assert done.exit_code == 0, done.output
        assert "fetched 6 files" in done.output
        one = call(*source, "--crops", "phantom-hidden-1")
        assert one.exit_code == 0, one.output
    assert DataFolder(data).crops(Purpose.HIDDEN) == ["phantom-hidden-1"]
    looked = call("inspect", data, "--labels", "cell,mem")
    assert looked.exit_code == 0, looked.output
    assert "FAIL" not in looked.stdout
    split = call("split", data, "--out", tmp_path / "s.toml", "-s", "8,8,8", "--kind", "kfold")
    assert split.exit_code == 0, split.output
    made = read_split(tmp_path / "s.toml")
    assert [sorted(row.voxels) for row in made.rows] == [["cell", "mem"]] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fetch", "nowhere", "--dest", "d"], "nowhere is no store"),
        (["fetch", ".", "--dest", "d", "--voxel-size", "8,8"], "--voxel-size needs three numbers"),
        (["split", "nowhere", "--out", "s.toml"], "nowhere is no folder"),
        (["split", ".", "--out", "s.toml", "-s", "0,8,8"], "--voxel-size needs numbers above 0"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence_and_exit_status_2(words, message, monkeypatch, refused, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert message in refused(*words)
    assert list(tmp_path.iterdir()) == []
