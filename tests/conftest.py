"""What all tests share: the folder of real data, and a whole installation."""

import os
from pathlib import Path

import pytest

from tests.installation import running

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real, licensed volumes beside the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} is missing: the tests on real data cannot run")
        pytest.skip(f"no real data at {folder}; the tests on made-up volumes ran")
    return folder


@pytest.fixture(scope="session")
def installation(tmp_path_factory):
    """A site with queue server and workers, as `manage.py up` starts it."""
    with running(tmp_path_factory.mktemp("installation")) as started:
        yield started
