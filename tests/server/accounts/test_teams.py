import pytest

from server.accounts import teams
from server.accounts.models import AuditEvent, Membership, Team
from server.errors import Refused
from tests.server.making import person

pytestmark = pytest.mark.django_db


def test_whoever_begins_a_team_owns_it_and_the_audit_says_so():
    ada = person("Ada")
    team = teams.create_team(ada, name="  Deep   Cells ")
    assert (team.name, team.slug) == ("Deep Cells", "deep-cells")
    assert Membership.objects.get(team=team).role == "owner"
    event = AuditEvent.objects.get(kind="team")
    assert (event.actor, event.key, event.after) == (ada, "deep-cells", "created")


def test_a_team_name_is_taken_however_it_is_capitalised():
    teams.create_team(person("Ada"), name="Deep Cells")
    with pytest.raises(Refused, match="already a team called deep cells"):
        teams.create_team(person("Bob"), name="deep cells")


def test_a_team_needs_a_name():
    with pytest.raises(Refused, match="needs a name"):
        teams.create_team(person("Ada"), name="   ")


def test_nobody_is_in_more_than_ten_teams():
    ada = person("Ada")
    for number in range(9):  # her own is the tenth
        teams.create_team(ada, name=f"Team {number}")
    with pytest.raises(Refused, match="in 10 teams already"):
        teams.create_team(ada, name="One more")
    assert Team.objects.of(ada).count() == 10


def test_ones_own_team_is_meant_when_none_is_named():
    ada = person("Ada")
    other = teams.create_team(ada, name="Others")
    assert teams.team_of(ada) == ada.own_team
    assert teams.team_of(ada, "others") == other


def test_somebody_elses_team_looks_as_if_it_did_not_exist():
    ada, _ = person("Ada"), person("Bob")
    sentences = []
    for slug in ("bob", "nobody"):
        with pytest.raises(Refused) as refusal:
            teams.team_of(ada, slug)
        assert refusal.value.status == 404
        sentences.append(refusal.value.sentence.replace(slug, "?"))
    assert sentences[0] == sentences[1] == "You are in no team '?'. Yours: ada."
