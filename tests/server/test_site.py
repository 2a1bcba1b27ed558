import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.template import engines
from django.test import Client

from server.templatetags.site import chip, render_markdown, score, score_bar, sentence, when
from tests.server import entries
from tests.server.making import person
from tests.server.reading import faults, signed_in, text_of

STATIC = Path(__file__).resolve().parents[2] / "server" / "static"


def test_vendored_files_are_the_ones_the_table_names():
    table = (STATIC / "vendor" / "VENDORED.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", table, re.M))
    licences = set(re.findall(r"\(`([^`]+)`\)", table))
    found = {path.name for path in (STATIC / "vendor").iterdir()} - {"VENDORED.md"}
    assert found == set(rows) | licences
    for name, digest in rows.items():
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


def test_no_static_file_of_ours_refers_to_another_host():
    for path in (STATIC / "site").iterdir():
        addresses = re.findall(r"https?://[^\s\"')]+", path.read_text("utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, path


def test_what_the_style_sheet_and_the_frame_load_is_there():
    sheet = (STATIC / "site" / "site.css").read_text("utf-8")
    for name in re.findall(r'url\("([^"]+)"\)', sheet):
        assert (STATIC / "site" / name).resolve().is_file()
    assert finders.find("site/site.css")


def test_a_score_has_three_decimals_and_none_is_a_dash():
    assert (score(0.12345), score(1.0), score(None)) == ("0.123", "1.000", "–")


def test_a_bar_is_as_long_as_its_score_and_stays_within_its_track():
    assert 'class="fill" y="1" width="25.00"' in score_bar(0.25)
    assert 'width="100.00"' in score_bar(1.5)
    assert 'class="range"' not in score_bar(0.25)
    assert score_bar(None) == ""


def test_a_bar_with_an_interval_has_a_line_from_low_to_high():
    assert 'd="M20.00 4H30.00M20.00 1V7M30.00 1V7"' in score_bar(0.25, 0.2, 0.3)


def test_a_moment_is_in_utc_for_people_and_programs():
    at = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    assert when(at) == '<time datetime="2030-01-02T03:04:00+00:00">2 Jan 2030, 03:04 UTC</time>'
    assert when(at, "j M Y").endswith(">2 Jan 2030</time>")
    assert when(None) == ""


def test_a_state_keeps_its_word_beside_its_colour():
    assert chip("failed") == '<span class="chip bad">failed</span>'
    assert chip("<b>") == '<span class="chip ">&lt;b&gt;</span>'


def test_a_sentence_shows_its_commands_as_code_and_everything_else_as_text():
    assert sentence("Use `evaluator pack`.") == "Use <code>evaluator pack</code>."
    assert sentence("<b> `<i>` `") == "&lt;b&gt; <code>&lt;i&gt;</code> `"


def test_markdown_keeps_structure_and_drops_what_could_run():
    html = render_markdown("# A\n\n- b\n\n<iframe src='x'></iframe><a href='data:x'>c</a>")
    assert "<h2>A</h2>" in html
    assert "<li>b</li>" in html
    assert "iframe" not in html
    assert "data:" not in html


@pytest.mark.parametrize("name", ["400.html", "403.html", "404.html", "500.html", "403_csrf.html"])
@pytest.mark.django_db
def test_error_pages_have_a_heading_and_a_next_step_even_without_a_request(name):
    html = engines["django"].get_template(name).render({})
    assert not faults(html)
    assert html.count("<h1>") == 1
    assert re.search(r"try again|Try again|go on from|log in|Log in|send it again", html)


@pytest.mark.django_db
def test_every_page_forbids_inline_code_and_has_landmarks_and_a_way_past_the_menu():
    phase = entries.phase(entries.challenge())
    ada = person("Ada", is_staff=True)
    row = entries.scored(phase, ada.own_team, 0.5)
    live = entries.submission(phase, ada.own_team)
    entries.evaluation(live, done=1)
    board = "/challenges/demo/test/leaderboard/"
    for_all = ["/", "/challenges/demo/", board, "/accounts/login/", "/accounts/signup/"]
    own = ["/submissions/", f"/submissions/{row.pk}/", f"/submissions/{live.pk}/", "/teams/",
           "/teams/ada/", "/tokens/", "/profile/", "/challenges/demo/submit/"]  # fmt: skip
    signed = signed_in(ada)
    for url, client in [(url, Client()) for url in for_all] + [(url, signed) for url in own]:
        answer = client.get(url)
        text = text_of(answer)
        policy = answer["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "style-src 'self'" in policy
        assert "unsafe" not in policy
        for mark in ('class="skip" href="#main"', '<main id="main"', "<header", "<footer", "<nav"):
            assert mark in text, url
        regions = re.findall(r'<div class="scroll"[^>]*>', text)
        assert all('tabindex="0"' in r and "aria-labelledby" in r for r in regions), url
        assert len(re.findall("<table", text)) <= len(re.findall("<caption", text)), url
