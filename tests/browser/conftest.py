"""Debian's Chromium, driven by Playwright; screenshots are kept as test output."""

import os
import shutil
from pathlib import Path

import pytest

OUTPUT = Path(__file__).resolve().parents[2] / "test-output" / "screenshots"
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: the browser tests cannot run")
        pytest.skip("no Chromium on this machine (on Debian: apt install chromium)")
    arguments = ["--no-sandbox", "--no-first-run", *QUIET]
    return {**browser_type_launch_args, "executable_path": chromium, "args": arguments}


@pytest.fixture
def shoot():
    """Keep a screenshot of a page at desktop and phone width."""
    OUTPUT.mkdir(parents=True, exist_ok=True)

    def take(page, name):
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=OUTPUT / f"{name}-{width}.png", full_page=True)
        page.set_viewport_size({"width": 1280, "height": 900})

    return take
