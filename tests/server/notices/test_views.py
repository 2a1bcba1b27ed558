import re

import pytest
from django.test import Client
from django.utils.timezone import now

from server.notices import muting, outbox, webhooks
from server.notices.models import Delivery, Receipt, Webhook
from tests.server import entries
from tests.server.making import person
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db
URL = "https://hooks.example.org/x"


@pytest.fixture(autouse=True)
def _listed(settings):
    settings.WEBHOOK_HOSTS = ["hooks.example.org"]


def tell(kind="scored", **fields):
    usual = {"subject": "It was scored", "text": "Look at `it`.", "path": "/submissions/7/"}
    return outbox.tell(kind, facts={}, **usual | fields)


def test_an_empty_list_says_what_will_stand_there(ada):
    assert "Nothing has happened yet" in text_of(signed_in(ada).get("/notices/"))


def test_ones_own_notices_stand_in_the_list_and_nobody_elses(ada):
    bob = person("Bob")
    tell(team=ada.own_team, subject="Of <Ada>")
    tell(team=bob.own_team, subject="Of Bob")
    text = text_of(signed_in(ada).get("/notices/"))
    assert "Of &lt;Ada&gt;" in text
    assert "<code>it</code>" in text
    assert 'href="/submissions/7/"' in text
    assert "Of Bob" not in text
    assert Client().get("/notices/")["Location"].startswith("/accounts/login/")


def test_every_page_counts_what_is_not_read_until_it_is(ada):
    client = signed_in(ada)
    for _ in range(3):
        tell(user=ada)
    count = re.compile(r'class="count".*?</span>(\d+)<')
    assert count.search(text_of(client.get("/teams/")))[1] == "3"
    assert "3 not read yet" in text_of(client.get("/notices/"))
    client.post("/notices/read/")
    text = text_of(client.get("/notices/"))
    assert "All read" in text
    assert not count.search(text)


def test_marking_all_as_read_leaves_those_of_others(ada):
    team = entries.team("Lab", ada, person("Bob"))
    tell(team=team)
    signed_in(ada).post("/notices/read/")
    assert [row.user.name for row in Receipt.objects.unread()] == ["Bob"]


def test_a_long_list_comes_in_pages(ada):
    for _ in range(51):
        tell(user=ada)
    client = signed_in(ada)
    assert "Page 1 of 2" in text_of(client.get("/notices/"))
    assert "Page 2 of 2" in text_of(client.get("/notices/?page=2"))


def test_mails_are_chosen_by_kind(ada):
    client = signed_in(ada)
    ticked = [kind for kind, _ in muting.CHOICES if kind not in ("scored", "deadline")]
    client.post("/notices/mails/", {"kind": ticked})
    assert muting.muted(ada) == ["deadline", "scored"]
    text = text_of(client.get("/notices/"))
    assert re.search(r'value="failed" checked', text)
    assert not re.search(r'value="scored" checked', text)
    tell(user=ada)
    tell("failed", user=ada)
    assert [row.notice.kind for row in Delivery.objects.all()] == ["failed"]
    client.post("/notices/mails/", {"kind": [kind for kind, _ in muting.CHOICES]})
    assert muting.muted(ada) == []


def test_what_only_organisers_are_told_only_they_can_choose(ada):
    assert 'value="quarantined"' not in text_of(signed_in(ada).get("/notices/"))
    organiser = person("Organiser", is_staff=True)
    assert 'value="quarantined"' in text_of(signed_in(organiser).get("/notices/"))


def test_a_new_webhook_shows_its_secret_once(ada):
    client = signed_in(ada)
    wish = {"whose": ada.own_team.slug, "url": URL, "kinds": ["failed"]}
    text = text_of(client.post("/webhooks/", wish))
    hook = Webhook.objects.get()
    assert (hook.team, hook.url, hook.kinds) == (ada.own_team, URL, ["failed"])
    assert hook.secret in text
    for page in ("/webhooks/", f"/webhooks/{hook.pk}/"):
        text = text_of(client.get(page))
        assert URL in text
        assert hook.secret not in text
        assert hook.nonce not in text


@pytest.mark.parametrize("url", ["http://hooks.example.org/", "https://10.0.0.1/", "x" * 600, ""])
def test_an_address_that_is_not_allowed_is_refused_with_what_would_be(ada, url):
    answer = signed_in(ada).post("/webhooks/", {"whose": ada.own_team.slug, "url": url})
    text_of(answer)
    assert not Webhook.objects.exists()


def test_webhooks_of_teams_one_does_not_own_cannot_be_made_seen_tried_or_removed(ada):
    bob, lab = person("Bob"), entries.team("Lab", ada, person("Carol"))
    hook = webhooks.add(ada, team=lab, url=URL)
    for user in (bob, lab.members.get(name="Carol")):
        client = signed_in(user)
        client.post("/webhooks/", {"whose": lab.slug, "url": URL})
        client.post("/webhooks/", {"whose": "-", "url": URL})
        assert client.get(f"/webhooks/{hook.pk}/").status_code == 404
        assert client.post(f"/webhooks/{hook.pk}/test/").status_code == 404
        assert client.post(f"/webhooks/{hook.pk}/remove/").status_code == 404
        assert URL not in text_of(client.get("/webhooks/"))
    assert Webhook.objects.get() == hook


def test_an_organiser_makes_one_for_the_organisers(ada):
    organiser = person("Organiser", is_staff=True)
    client = signed_in(organiser)
    text_of(client.post("/webhooks/", {"whose": "-", "url": URL}))
    hook = Webhook.objects.get()
    assert hook.team is None
    assert "the organisers" in text_of(client.get(f"/webhooks/{hook.pk}/"))


def test_a_webhook_shows_what_was_posted_and_is_tried_and_removed_by_buttons(ada):
    hook, client = webhooks.add(ada, team=ada.own_team, url=URL), signed_in(ada)
    assert "Nothing was posted yet" in text_of(client.get(f"/webhooks/{hook.pk}/"))
    client.post(f"/webhooks/{hook.pk}/test/")
    hook.deliveries.update(status="failed", attempts=8, answer="answered 500", changed=now())
    text = text_of(client.get(f"/webhooks/{hook.pk}/"))
    assert "answered 500" in text
    assert "failed" in text
    client.post(f"/webhooks/{hook.pk}/remove/")
    assert not Webhook.objects.exists()
    assert "no webhooks yet" in text_of(client.get("/webhooks/"))


@pytest.mark.parametrize("path", ["read/", "mails/"])
def test_a_link_changes_nothing(ada, path):
    assert signed_in(ada).get(f"/notices/{path}").status_code == 405
