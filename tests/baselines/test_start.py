"""What starting costs, in modules that are loaded, and that nothing here speaks to a network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from baselines.config import to_json
from tests.baselines.conftest import tiny

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "scipy", "zarr", "tensorstore", "skimage", "matplotlib", "monai", "distributed"}
HELP = """
import sys
from baselines.cli import app
try:
    app(sys.argv[1:])
except SystemExit as ended:
    assert ended.code == 0
print(*sys.modules)
"""
WATCHED = """
import json, sys
told = []
def watch(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        told.append(event)
        raise OSError(f"{event} {args}")
sys.addaudithook(watch)
from baselines.cli import app
for words in json.loads(sys.argv[1]):
    app(words, standalone_mode=False)
print(json.dumps(told))
"""


def loaded(code, *words):
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy():
    assert not HEAVY & loaded("import sys, baselines\nprint(*sys.modules)")


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["predict", "--help"]])
def test_help_does_not_wait_for_what_only_work_needs(words):
    assert not HEAVY & loaded(HELP, *words)


def test_no_network_is_asked_for_from_training_to_the_submission(phantom, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(to_json(tiny(iterations=2)))
    data, run, out = str(phantom.root), str(tmp_path / "run"), str(tmp_path / "pred")
    manifest, device = str(phantom.root / "challenge"), ["--device", "cpu"]
    steps = [
        ["inspect", data],
        ["train", str(config), "--data", data, "--out", run, *device],
        ["predict", run, "--data", data, "--out", out, *device],
        ["pack", out, "--manifest", manifest, "--out", str(tmp_path / "out.zip")],
    ]
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps(steps)], cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert (tmp_path / "out.zip").is_file()


@pytest.mark.parametrize(
    "lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda p: p.name
)
def test_no_locked_requirement_is_torchvision(lock):
    names = {line.split("==")[0].strip() for line in lock.read_text("utf-8").splitlines()}
    assert "torchvision" not in {name.split("[")[0].lower() for name in names}
    assert any("==" in line for line in lock.read_text("utf-8").splitlines())
