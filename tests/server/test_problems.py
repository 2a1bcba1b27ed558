import pytest
from django.test import Client
from django.utils.html import escape

from server import problems, scoring
from tests.server.reading import text_of

pytestmark = pytest.mark.django_db


def test_the_list_names_every_code_and_leads_to_its_page():
    text = text_of(Client().get("/problems/"))
    for code, entry in scoring.catalogue().items():
        assert f'href="/problems/{code}/"' in text
        assert escape(entry["means"][1:]) in text


@pytest.mark.parametrize("code", scoring.catalogue())
def test_each_code_has_a_page_for_everybody(code):
    text = text_of(Client().get(f"/problems/{code}/"))
    for heading in ("What it looks like", "Why", "What to do"):
        assert heading in text
    assert ".md)" not in text
    assert "](" not in text


@pytest.mark.parametrize("code", ["lost", "README", "..", "%2e%2e"])
def test_there_is_no_page_of_another_name(code):
    assert Client().get(f"/problems/{code}/").status_code == 404


def test_every_docs_link_of_a_report_leads_to_a_page(bundle_folder):
    rules = scoring.Rules(
        (bundle_folder / "manifest.csv").read_text(), (bundle_folder / "labels.toml").read_text(),
        "crista-1", bundle_folder / "truth.zarr",
    )  # fmt: skip
    accepted, report = scoring.check(bundle_folder / "manifest.csv", rules, called="mine.csv")
    assert not accepted
    (problem,) = report["problems"]
    assert "manifest.csv" not in str(report)  # it is called what its owner calls it
    assert "mine.csv is not a zip" in problem["message"]
    text_of(Client().get(problem["docs"]))


def test_links_between_pages_lead_within_the_site():
    assert problems.TO_OTHERS.sub(r"](../\1/)", "[a](too_large.md)") == "[a](../too_large/)"


def test_a_rejection_before_the_check_is_a_report_like_others():
    report = scoring.rejection("wrong_digest", "It came.", remedy="Again.", expected="a", got="b")
    (problem,) = report["problems"]
    assert (report["accepted"], report["quota_used"], report["targets"]) == (False, False, {})
    assert (problem["severity"], problem["blame"]) == ("reject", "participant")
    assert (problem["expected"], problem["got"]) == ("a", "b")
    text_of(Client().get(problem["docs"]))
    with pytest.raises(KeyError):
        scoring.rejection("lost", "It came.", remedy="Again.")
