from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils.timezone import now

from server.accounts.models import Membership, Scope, Team, Token, User
from tests.server.making import PASSWORD, person

pytestmark = pytest.mark.django_db


def test_a_new_person_owns_a_team_of_one_of_the_same_name():
    ada = person("Ada")
    membership = Membership.objects.get(user=ada)
    assert (membership.team, membership.role) == (ada.own_team, "owner")
    assert (ada.own_team.name, ada.own_team.slug) == ("Ada", "ada")


def test_saving_a_person_again_makes_no_second_team():
    ada = person("Ada")
    ada.save()
    assert Team.objects.count() == 1


def test_two_people_of_one_name_get_teams_with_different_slugs():
    first = User.objects.create_user("a@example.org", PASSWORD, name="Ada")
    second = User.objects.create_user("b@example.org", PASSWORD, name="Ada")
    assert first.own_team.slug == "ada"
    assert second.own_team.slug.startswith("ada-")


def test_a_name_without_letters_still_gives_a_slug():
    assert User.objects.create_user("x@example.org", PASSWORD, name="李").own_team.slug == "team"


def test_a_person_without_a_name_is_called_by_the_front_of_their_address():
    assert User.objects.create_user("grace.h@example.org", PASSWORD).name == "grace.h"


def test_an_address_counts_once_however_it_is_capitalised():
    User.objects.create_user("Ada@Example.org", PASSWORD)
    assert User.objects.get_by_natural_key("aDA@example.ORG").email == "ada@example.org"
    with pytest.raises(IntegrityError):
        User.objects.create_user("ADA@example.org", PASSWORD)


def test_renaming_a_person_renames_their_own_team_but_not_its_address():
    ada = person("Ada")
    ada.rename("Ada Lovelace")
    team = Team.objects.get(person=ada)
    assert (team.name, team.slug) == ("Ada Lovelace", "ada")


def test_teams_of_a_person_come_with_their_own_first_and_nobody_elses():
    zoe, bob = person("Zoe"), person("Bob")
    shared = Team.objects.create(name="A team")
    Membership.objects.create(team=shared, user=zoe)
    assert list(Team.objects.of(zoe)) == [zoe.own_team, shared]
    assert list(Team.objects.of(bob)) == [bob.own_team]


def test_a_token_is_kept_as_its_digest_only():
    token, text = Token.issue(person("Ada"), name="laptop", now=now())
    assert text.startswith("crista_")
    assert len(text) == len("crista_") + 43  # 32 random bytes in base64
    assert token.digest == Token.digest_of(text)
    assert text not in str(Token.objects.filter(pk=token.pk).values().get())
    assert token.prefix == text[:12]


def test_a_token_lasts_a_year_and_may_read_and_submit():
    at = now()
    token, _ = Token.issue(person("Ada"), name="laptop", now=at)
    assert token.expires - at == timedelta(days=365)
    assert token.allows(Scope.READ)
    assert token.allows(Scope.SUBMIT)


def test_a_token_made_for_reading_may_not_submit():
    token, _ = Token.issue(person("Ada"), name="board", scopes=(Scope.READ,), now=now())
    assert not token.allows(Scope.SUBMIT)
