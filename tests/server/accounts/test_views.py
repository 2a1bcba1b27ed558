import re

import pytest
from django.test import Client

from server.accounts.models import Team, Token, User
from server.accounts.teams import create_team
from tests.server.making import PASSWORD, api, person
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db
PRIVATE = ["/profile/", "/teams/", "/tokens/", "/teams/ada/", "/teams/join/x/", "/submissions/"]


@pytest.mark.parametrize("url", PRIVATE)
def test_private_pages_ask_a_visitor_to_log_in_and_bring_them_back(ada, url):
    answer = Client().get(url)
    assert answer.status_code == 302
    assert answer["Location"] == f"/accounts/login/?next={url}"


@pytest.mark.parametrize(
    "url", ["/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"]
)
def test_pages_of_the_entrance_are_in_the_sites_frame_with_labels(url):
    text = text_of(Client().get(url))
    assert 'href="#main"' in text
    assert '<main id="main"' in text
    assert 'lang="en"' in text


@pytest.mark.parametrize(
    "url",
    ["/accounts/logout/", "/accounts/email/", "/accounts/password/change/", "/profile/", "/teams/"],
)
def test_pages_of_an_account_are_in_the_sites_frame(ada, url):
    text = text_of(signed_in(ada).get(url))
    assert '<main id="main"' in text
    assert "Log out" in text


def test_the_entrance_and_the_account_call_an_e_mail_address_the_same(ada):
    for answer in (Client().get("/accounts/login/"), signed_in(ada).get("/accounts/email/")):
        text = text_of(answer)
        assert "E-mail" in text
        assert "Email" not in text.replace("Email address", "")


def test_signing_up_makes_a_person_with_a_team_of_one_who_is_logged_in():
    client = Client()
    wish = {"name": "Grace", "email": "Grace@example.org", "password1": PASSWORD}
    answer = client.post("/accounts/signup/", wish, follow=True)
    assert "Grace" in text_of(answer)
    assert "My submissions" in text_of(answer)
    assert User.objects.get(email="grace@example.org").own_team.name == "Grace"


def test_a_mistake_at_sign_up_is_named_beside_its_field():
    answer = Client().post("/accounts/signup/", {"name": "", "email": "x", "password1": "123"})
    assert text_of(answer).count('class="errorlist"') == 3
    assert not User.objects.exists()


def test_logging_in_with_a_wrong_password_says_so_and_with_the_right_one_goes_on(ada):
    wish = {"login": "ada@example.org", "password": "wrong"}
    client = Client()
    assert 'role="alert"' in text_of(client.post("/accounts/login/", wish))
    answer = client.post("/accounts/login/?next=/tokens/", wish | {"password": PASSWORD})
    assert answer["Location"] == "/tokens/"


def test_password_reset_answers_the_same_for_known_and_unknown_addresses(ada):
    for email in ("ada@example.org", "nobody@example.org"):
        answer = Client().post("/accounts/password/reset/", {"email": email}, follow=True)
        assert "Look into your mail" in text_of(answer)


def test_a_person_changes_the_name_of_themselves_and_of_their_team_of_one(ada):
    client = signed_in(ada)
    assert client.post("/profile/", {"name": "Ada L."})["Location"] == "/profile/"
    assert "Ada L." in text_of(client.get("/profile/"))
    assert Team.objects.get(person=ada).name == "Ada L."
    assert "errorlist" in text_of(client.post("/profile/", {"name": " "}))


def test_a_team_begins_with_its_page_and_a_link_that_lets_others_in(ada):
    client, bob = signed_in(ada), person("Bob")
    answer = client.post("/teams/", {"name": "Lab"}, follow=True)
    link = re.search(r'value="http://testserver(/teams/join/[^"]+)"', text_of(answer)).group(1)
    guest = signed_in(bob)
    assert "Join Lab?" in text_of(guest.get(link))
    assert not bob.teams.filter(slug="lab").exists()  # looking changes nothing
    guest.post(link)
    assert bob.teams.filter(slug="lab").exists()
    assert "/teams/join/" not in text_of(guest.get("/teams/lab/"))  # members do not invite


def test_a_taken_name_is_refused_on_the_page(ada):
    create_team(person("Bob"), name="Lab")
    answer = signed_in(ada).post("/teams/", {"name": "lab"})
    assert "already a team called" in text_of(answer)
    assert Team.objects.filter(person=None).count() == 1


def test_a_wrong_invitation_is_refused_with_a_sentence(ada):
    answer = signed_in(ada).get("/teams/join/nonsense/", follow=True)
    assert "This invitation is not valid" in text_of(answer)


def test_a_rival_cannot_see_or_leave_anothers_team(ada):
    create_team(ada, name="Lab")
    rival = signed_in(person("Bob"))
    assert rival.get("/teams/lab/").status_code == 404
    assert rival.get("/teams/ada/").status_code == 404
    assert rival.post("/teams/lab/leave/").status_code == 404


def test_leaving_a_team_is_refused_to_its_only_owner_on_the_page(ada):
    create_team(ada, name="Lab")
    client = signed_in(ada)
    assert "no owner" in text_of(client.post("/teams/lab/leave/", follow=True))
    assert client.get("/teams/lab/leave/").status_code == 405


def test_an_owner_changes_members_name_and_links_on_the_page(ada):
    client, bob = signed_in(ada), person("Bob")
    team = create_team(ada, name="Lab")
    text = text_of(client.get("/teams/lab/"))
    link = re.search(r'value="http://testserver(/teams/join/[^"]+)"', text).group(1)
    signed_in(bob).post(link)
    url = f"/teams/lab/members/{team.memberships.get(user=bob).pk}/"
    assert "Bob is an owner now" in text_of(client.post(url, {"do": "owner"}, follow=True))
    assert "Bob is a member now" in text_of(client.post(url, {"do": "member"}, follow=True))
    assert client.post(url, {"do": "king"}).status_code == 404
    text = text_of(client.post("/teams/lab/rename/", {"name": "New"}, follow=True))
    assert "The team is called New now" in text
    assert "already a team" in text_of(_rename_to_taken(client))
    assert "no longer in New" in text_of(client.post(url, {"do": "remove"}, follow=True))
    client.post("/teams/lab/withdraw/")
    assert "withdrawn this invitation" in text_of(signed_in(bob).get(link, follow=True))


def _rename_to_taken(client):
    create_team(person("Eve"), name="Taken")
    return client.post("/teams/lab/rename/", {"name": "taken"}, follow=True)


def test_a_member_who_owns_nothing_is_refused_on_the_page_and_sees_no_buttons(ada):
    team, bob = create_team(ada, name="Lab"), person("Bob")
    team.memberships.create(user=bob)
    client, owner = signed_in(bob), team.memberships.get(user=ada)
    assert "Make member" not in text_of(client.get("/teams/lab/"))
    for url in (f"members/{owner.pk}/", "rename/", "withdraw/"):
        answer = client.post(f"/teams/lab/{url}", {"do": "remove", "name": "Mine"}, follow=True)
        assert "Only an owner" in text_of(answer)
        assert client.get(f"/teams/lab/{url}").status_code == 405
    assert team.memberships.count() == 2


def test_the_page_of_a_merged_team_leads_its_members_to_the_other(ada):
    lab, old = create_team(ada, name="Lab"), create_team(ada, name="Old")
    old.merged_into = lab
    old.save()
    old.memberships.all().delete()
    assert signed_in(ada).get("/teams/old/")["Location"] == "/teams/lab/"
    assert signed_in(person("Bob")).get("/teams/old/").status_code == 404


def test_only_organisers_are_offered_a_token_that_organises(ada):
    wish = {"name": "x", "may": "organise", "days": "7"}
    assert "errorlist" in text_of(signed_in(ada).post("/tokens/", wish))
    staff = signed_in(person("Organiser", is_staff=True))
    assert "crista_" in text_of(staff.post("/tokens/", wish))
    assert Token.objects.get().scopes == ["read", "submit", "organise"]


def test_a_token_is_shown_once_works_and_ends_when_it_is_revoked(ada):
    client = signed_in(ada)
    answer = client.post("/tokens/", {"name": "cluster", "may": "submit", "days": "30"})
    text = re.search(r'value="(crista_[^"]+)"', text_of(answer)).group(1)
    assert "no-store" in answer["Cache-Control"]
    assert text not in text_of(client.get("/tokens/"))
    script = api()
    script.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    assert script.get("/api/me/").json()["name"] == "Ada"
    client.post(f"/tokens/{Token.objects.get().pk}/revoke/")
    assert script.get("/api/me/").status_code == 401
    assert "You have no tokens" in text_of(client.get("/tokens/"))


def test_a_token_that_may_only_read_carries_that_scope(ada):
    signed_in(ada).post("/tokens/", {"name": "reader", "may": "read", "days": "7"})
    assert Token.objects.get().scopes == ["read"]


@pytest.mark.parametrize("wish", [{"name": ""}, {"days": "9999"}, {"may": "everything"}])
def test_a_wrong_wish_makes_no_token(ada, wish):
    wish = {"name": "x", "may": "read", "days": "7"} | wish
    assert "errorlist" in text_of(signed_in(ada).post("/tokens/", wish))
    assert not Token.objects.exists()


def test_a_rival_neither_sees_nor_revokes_a_token(ada):
    signed_in(ada).post("/tokens/", {"name": "cluster", "may": "read", "days": "7"})
    rival = signed_in(person("Bob"))
    assert "You have no tokens" in text_of(rival.get("/tokens/"))
    assert rival.post(f"/tokens/{Token.objects.get().pk}/revoke/").status_code == 404
    assert Token.objects.count() == 1
