"""Pages of results, looked at: nothing sticks out, nothing is fetched, and screenshots are kept."""

from pathlib import Path

import pytest
from playwright.sync_api import Page

from evaluator import Status
from evaluator.results.compare import compare, comparison_page
from evaluator.results.page import result_page
from tests.evaluator.made_results import result

OFFICIAL = "cellmap-2026.1"
QUIRKS = {"crop1/mito": ("collides", "components"), "crop2/mito": ("collides",)}


@pytest.fixture
def pages(tmp_path) -> dict[str, Path]:
    told = result("one.json", protocol=OFFICIAL, quirks=QUIRKS, status={"crop1/er": Status.MISSING})
    texts = {
        "result": result_page(told),
        "comparison": comparison_page(compare(told, result("another.json"))),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.html").write_text(text)
    return {name: tmp_path / f"{name}.html" for name in texts}


@pytest.mark.parametrize("name", ["result", "comparison"])
def test_a_page_of_results_fits_every_screen(page: Page, shoot, pages, name):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(pages[name].as_uri())
        page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert set(asked) == {pages[name].as_uri()}
    shoot(page, f"page-of-a-{name}")


def test_the_dots_of_a_plot_lie_where_their_scores_are(page: Page, pages):
    page.goto(pages["result"].as_uri())
    plot = page.get_by_role("img", name="er: 2 crops").bounding_box()
    dots = [dot.bounding_box() for dot in page.locator("circle").all()[:2]]
    centres = [(dot["x"] + dot["width"] / 2 - plot["x"]) / plot["width"] for dot in dots]
    assert centres == pytest.approx([0.03 + 0.94 * 0.5, 0.03 + 0.94], abs=0.01)


def test_tables_can_be_reached_and_scrolled_with_the_keyboard(page: Page, pages):
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(pages["result"].as_uri())
    page.keyboard.press("Tab")
    table = page.get_by_role("region", name="Scores of the labels")
    assert table.evaluate("one => one === document.activeElement")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
