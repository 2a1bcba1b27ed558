"""A challenge's folder, for tests that change it."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def folder(bundle_folder, tmp_path) -> Path:
    """A copy of the bundle that a test may damage."""
    return shutil.copytree(bundle_folder, tmp_path / "bundle")
