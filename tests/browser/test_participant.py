"""A newcomer takes part through the pages alone, in a real browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.installation import PASSWORD

SLUG = "in-the-browser"


@pytest.fixture(scope="module")
def packed(begun):
    return begun(SLUG)


def sign_up(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/accounts/signup/")
    page.get_by_label("Your name").fill(name)
    page.get_by_label("E-mail").fill(f"{name.lower()}@example.org")
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("link", name="My submissions").first).to_be_visible()


def test_sign_up_make_a_team_upload_watch_and_see_the_board(installation, packed, page, shoot):
    sign_up(page, installation.address, "Grace")
    page.goto(f"{installation.address}/teams/")
    page.get_by_label("Name").fill("Browser team")
    page.get_by_role("button", name="Begin the team").click()
    expect(page.get_by_role("heading", name="Browser team")).to_be_visible()
    shoot(page, "team")

    page.goto(f"{installation.address}/challenges/{SLUG}/")
    shoot(page, "challenge")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.get_by_label("Team").select_option(label="Browser team")
    page.get_by_label("Name of the method").fill("By hand")
    page.get_by_label("File").set_input_files(packed)
    shoot(page, "upload")
    page.get_by_role("button", name="Upload and submit").click()

    page.wait_for_url(re.compile(r"/submissions/\d+/"))
    expect(
        page.get_by_text("6 of 6").or_(page.get_by_role("link", name="Leaderboard")).first
    ).to_be_visible(timeout=60_000)
    expect(page.locator(".chip", has_text="scored").first).to_be_visible(timeout=60_000)
    shoot(page, "submission")
    page.goto(f"{installation.address}/challenges/{SLUG}/test/leaderboard/")
    row = page.get_by_role("row").filter(has_text="Browser team")
    expect(row).to_contain_text("By hand")
    expect(row).to_contain_text("yours")
    shoot(page, "leaderboard")
    page.get_by_role("link", name="mito", exact=True).click()
    expect(page.get_by_role("row").filter(has_text="Browser team")).to_be_visible()
    shoot(page, "leaderboard-label")


def test_a_file_that_is_no_zip_is_rejected_with_its_reason_and_next_step(
    installation, packed, page, shoot, tmp_path
):
    sign_up(page, installation.address, "Heidi")
    wrong = tmp_path / "results.zip"
    wrong.write_text("this is no zip")
    page.goto(f"{installation.address}/challenges/{SLUG}/submit/")
    page.get_by_label("Name of the method").fill("Wrong file")
    page.get_by_label("File").set_input_files(wrong)
    page.get_by_role("button", name="Upload and submit").click()
    page.wait_for_url(re.compile(r"/submissions/\d+/"))
    expect(page.locator(".chip", has_text="rejected").first).to_be_visible(timeout=30_000)
    expect(page.get_by_text("Quota used: no")).to_be_visible()
    shoot(page, "rejected")


PAGES = {
    "home": "/",
    "signup": "/accounts/signup/",
    "login": "/accounts/login/",
    "reset": "/accounts/password/reset/",
    "not-found": "/nothing-here/",
    "problems": "/problems/",
    "problem": "/problems/wrong_shape/",
}
OWN_PAGES = {
    "submissions": "/submissions/",
    "teams": "/teams/",
    "tokens": "/tokens/",
    "profile": "/profile/",
    "notices": "/notices/",
    "webhooks": "/webhooks/",
}


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_phone(installation, packed, name, shoot, visitor):
    visitor.goto(installation.address + PAGES[name])
    shoot(visitor, name)
    fits(visitor)


def test_the_api_is_described_where_the_site_says(installation, page, shoot):
    page.goto(f"{installation.address}/api/docs/")
    expect(page.get_by_text("/api/submissions/", exact=True).first).to_be_visible(timeout=30_000)
    shoot(page, "api-docs")


def test_no_page_of_ones_own_is_wider_than_a_phone(installation, packed, page, shoot):
    sign_up(page, installation.address, "Ivan")
    for name, path in OWN_PAGES.items():
        page.goto(installation.address + path)
        shoot(page, name)
        fits(page)


def fits(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
