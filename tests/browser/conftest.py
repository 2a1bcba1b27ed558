"""Debian's Chromium, driven by Playwright; screenshots are kept as test output."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.server.making import make_bundle
from tests.synthetic import write_submission

OUTPUT = Path(__file__).resolve().parents[2] / "test-output" / "screenshots"
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def begun(installation, tmp_path_factory) -> Callable[[str], Path]:
    """Begin a challenge of this slug; a submission to it that can be scored."""

    def begin(slug: str) -> Path:
        bundle = make_bundle(tmp_path_factory.mktemp(slug), slug=slug)
        installation.manage("load_challenge", str(bundle))
        packed = bundle.parent / f"{slug}.zip"
        write_submission(packed, bundle, quality=0.8)
        return packed

    return begin


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One per file: it holds an event loop, which the database's own tests must not meet."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: the browser tests cannot run")
        pytest.skip("no Chromium on this machine (on Debian: apt install chromium)")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--no-first-run", *QUIET]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser) -> Iterator[Page]:
    """A new visitor's page."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture
def page(visitor) -> Iterator[Page]:
    """A page that fails the test on any error in its console, CSP violations among them."""
    errors: list[str] = []
    visitor.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    visitor.on("pageerror", lambda error: errors.append(str(error)))
    yield visitor
    assert errors == []


@pytest.fixture
def shoot():
    """Keep a screenshot of a page at desktop and phone width."""
    OUTPUT.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=OUTPUT / f"{name}-{width}.png", full_page=True)

    return take
