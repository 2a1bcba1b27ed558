from datetime import timedelta

import pytest
from django.test import Client
from django.utils.timezone import now

from server.challenges.contents import challenge_card, challenge_cards, crops_of, labels_of
from server.challenges.models import Challenge
from tests.server import entries
from tests.server.making import person
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db


def test_home_without_challenges_says_how_to_add_one():
    assert "load_challenge" in text_of(Client().get("/"))


def test_home_lists_challenges_with_state_and_time_left():
    entries.phase(entries.challenge(), opens=-1, closes=10)
    text = text_of(Client().get("/"))
    assert "Demo challenge" in text
    assert 'class="chip ok">open</span>' in text
    assert "left)" in text
    assert "/challenges/demo/test/leaderboard/" in text


def test_a_challenge_without_dates_has_a_page_that_says_so():
    entries.challenge()
    assert "No dates yet" in text_of(Client().get("/"))
    assert "not set dates yet" in text_of(Client().get("/challenges/demo/"))


def test_open_challenges_come_before_those_to_come_and_those_before_the_past():
    for slug, opens, closes in (("past", -9, -1), ("soon", 1, 9), ("open", -1, 9)):
        entries.phase(entries.challenge(slug, slug.title()), opens=opens, closes=closes)
    entries.challenge("none", "None")
    cards = challenge_cards(Challenge.objects.all(), at=now())
    assert [card.challenge.slug for card in cards] == ["open", "soon", "past", "none"]


def test_the_current_phase_is_the_open_one_else_the_next_else_the_last():
    challenge, day = entries.challenge(), timedelta(days=1)
    entries.phase(challenge, "first", opens=0, closes=10, position=0)
    entries.phase(challenge, "second", opens=20, closes=30, position=1)
    found = [challenge_card(challenge, now() + n * day).current for n in (-5, 5, 15, 25, 35)]
    slugs = [card.phase.slug for card in found]
    assert slugs == ["first", "first", "second", "second", "second"]
    states = [card.state for card in found]
    assert states == ["upcoming", "open", "upcoming", "open", "closed"]


def test_labels_and_crops_are_those_of_the_manifest():
    truth = entries.challenge().truths.get()
    labels = [(label.name, label.kind, label.crops) for label in labels_of(truth)]
    assert labels == [("membrane", "semantic", 1), ("mito", "instance", 2)]
    first, second = crops_of(truth)
    assert (first.name, first.dataset, first.labels) == ("crop1", "jrc_demo-1", 2)
    assert (second.name, second.shape, second.labels) == ("crop2", (16, 16, 16), 1)
    assert second.voxel_size == (8.0, 4.0, 4.0)


def test_a_challenge_says_how_to_take_part_with_this_sites_address(settings):
    settings.SITE_URL = "https://crista.example.org"
    entries.phase(entries.challenge())
    text = text_of(Client().get("/challenges/demo/"))
    assert "evaluator login https://crista.example.org\n" in text
    assert "evaluator submit submission.zip --challenge demo --phase test --method" in text
    assert "/api/challenges/demo/phases/test/manifest.csv" in text
    assert "/api/challenges/demo/phases/test/labels.toml" in text
    assert "32 × 48 × 64" in text
    assert "8 × 4 × 4" in text


def test_the_data_a_challenge_links_to_is_there():
    entries.phase(entries.challenge())
    for name, text in (("manifest.csv", entries.MANIFEST), ("labels.toml", entries.LABELS)):
        answer = Client().get(f"/api/challenges/demo/phases/test/{name}")
        assert answer.content.decode() == text


def test_markdown_of_an_organiser_is_rendered_without_anything_that_runs():
    overview = (
        "# Welcome\n\n**bold** [here](https://example.org)\n\n"
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n"
        '<script>alert(1)</script><img alt="" src="x" onerror="alert(1)">'
        "[bad](javascript:alert(1))<style>p{}</style>"
    )
    entries.phase(entries.challenge(overview=overview, rules="1. Be fair."))
    text = text_of(Client().get("/challenges/demo/"))
    assert "<h2>Welcome</h2>" in text
    assert "<strong>bold</strong>" in text
    assert "<td>1</td>" in text
    assert "Be fair." in text
    for bad in ("alert(1)</script>", "onerror", "javascript:", "<style"):
        assert bad not in text


def test_a_closed_challenge_offers_no_upload():
    entries.phase(entries.challenge(), opens=-9, closes=-1)
    assert "/challenges/demo/submit/" not in text_of(Client().get("/challenges/demo/"))


def test_everybody_may_read_and_nobody_sees_where_the_truth_lies():
    entries.phase(entries.challenge(), visibility="staff")
    staff = person("Organiser", is_staff=True)
    for client in (Client(), signed_in(person("Ada")), signed_in(staff)):
        assert "/nowhere" not in text_of(client.get("/challenges/demo/"))


def test_a_challenge_that_does_not_exist_is_a_page_with_a_next_step():
    text = text_of(Client().get("/challenges/no/"), status=404)
    assert "There is no such page" in text
    assert "/accounts/login/?next=/challenges/no/" in text
    assert Client().post("/challenges/no/").status_code == 405
