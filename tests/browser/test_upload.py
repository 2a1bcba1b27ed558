"""The upload page when a connection breaks, the page is closed, or the participant stops."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.test_participant import sign_up

SLUG = "broken-lines"


@pytest.fixture(scope="module")
def packed(begun):
    return begun(SLUG)


def fill(page: Page, address: str, packed) -> None:
    page.goto(f"{address}/challenges/{SLUG}/submit/")
    page.get_by_label("Name of the method").fill("By hand")
    page.get_by_label("File").set_input_files(packed)
    page.get_by_role("button", name="Upload and submit").click()


class Parts:
    """Lets parts of uploads through, or breaks their connections; counts what was begun."""

    def __init__(self, page: Page) -> None:
        self.broken = 0
        self.begun = 0
        self.breaks = True
        page.route(re.compile(r"/api/uploads/"), self.answer)

    def answer(self, route: Route) -> None:
        method = route.request.method
        self.begun += method == "POST"
        if method == "PATCH" and self.breaks:
            self.broken += 1
            self.breaks = self.broken != 2
            route.abort("connectionreset")
        else:
            route.continue_()


def test_a_connection_that_breaks_is_taken_up_by_itself(installation, packed, visitor):
    sign_up(visitor, installation.address, "Judy")
    parts = Parts(visitor)
    fill(visitor, installation.address, packed)
    visitor.wait_for_url(re.compile(r"/submissions/\d+/"))
    assert (parts.broken, parts.begun) == (2, 1)
    expect(visitor.locator(".chip", has_text="scored").first).to_be_visible(timeout=60_000)


def test_a_page_that_was_closed_goes_on_with_the_same_upload(installation, packed, visitor):
    sign_up(visitor, installation.address, "Karl")
    parts = Parts(visitor)
    parts.broken = 10  # nothing gets through any more
    fill(visitor, installation.address, packed)
    expect(visitor.get_by_text("The connection broke.")).to_be_visible()
    visitor.on("dialog", lambda dialog: dialog.accept())
    visitor.goto(f"{installation.address}/submissions/")
    parts.breaks = False
    fill(visitor, installation.address, packed)
    visitor.wait_for_url(re.compile(r"/submissions/\d+/"))
    assert parts.begun == 1


def test_who_stops_an_upload_may_begin_another_at_once(installation, packed, visitor):
    sign_up(visitor, installation.address, "Lena")
    parts = Parts(visitor)
    parts.broken = 10
    fill(visitor, installation.address, packed)
    expect(visitor.get_by_text("The connection broke.")).to_be_visible()
    visitor.get_by_role("button", name="Stop the upload").click()
    expect(visitor.get_by_role("alert")).to_contain_text("stopped, and its bytes were removed")
    parts.breaks = False
    visitor.get_by_role("button", name="Upload and submit").click()
    visitor.wait_for_url(re.compile(r"/submissions/\d+/"))
    assert parts.begun == 2
