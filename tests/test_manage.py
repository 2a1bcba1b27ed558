"""The entry command on its own: what a newcomer sees when something is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


@pytest.fixture
def bare_copy(tmp_path):
    """The files a bare clone needs to make its environment, and nothing made yet."""
    for name in ("manage.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def manage(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = sys._base_executable
    return subprocess.run(
        [base, str(folder / "manage.py"), *arguments],
        env={**BARE, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_without_a_network_one_sentence_says_what_to_do(bare_copy):
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(bare_copy), "PIP_CONFIG_FILE": os.devnull}
    done = manage(bare_copy, "demo", **nowhere)
    assert done.returncode == 1
    assert "PIP_FIND_LINKS" in done.stderr
    assert "Then run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (bare_copy / ".venv" / "crista-installed").exists()


def test_the_environment_is_made_anew_when_the_locked_requirements_change(bare_copy):
    code = "import manage; print(manage.fingerprint())"
    ask = [sys.executable, "-c", code]
    before = subprocess.run(ask, cwd=bare_copy, capture_output=True, text=True, check=True).stdout
    with (bare_copy / "requirements" / "dev.txt").open("a") as lock:
        lock.write("# changed\n")
    after = subprocess.run(ask, cwd=bare_copy, capture_output=True, text=True, check=True).stdout
    assert before != after


def test_nothing_in_the_lock_needs_a_compiler_or_a_gpu():
    lock = (ROOT / "requirements" / "dev.txt").read_text("utf-8")
    assert not any(name in lock for name in ("nvidia-", "triton", "torchvision", "://"))
    assert "--only-binary" in (ROOT / "manage.py").read_text("utf-8")
