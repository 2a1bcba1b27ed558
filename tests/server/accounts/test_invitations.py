import pytest
from django.core import signing

from server.accounts import invitations
from server.accounts.models import AuditEvent, Team
from server.accounts.teams import MOST_TEAMS, create_team
from server.errors import Refused
from tests.server.making import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def lab():
    return create_team(person("Ada"), name="Lab")


def members(team):
    return {(m.user.name, m.role) for m in team.memberships.select_related("user")}


def test_an_invitation_leads_into_its_team(lab):
    assert invitations.invited_to(invitations.invitation(lab)) == lab


def test_joining_twice_makes_one_member_and_one_entry_in_the_records(lab):
    bob = person("Bob")
    invitations.join(bob, team=lab)
    invitations.join(bob, team=lab)
    assert members(lab) == {("Ada", "owner"), ("Bob", "member")}
    assert AuditEvent.objects.filter(kind="team", key="lab", after="joined").count() == 1


@pytest.mark.parametrize("text", ["", "nonsense", signing.dumps("lab", salt="another purpose")])
def test_a_text_we_did_not_sign_for_this_leads_nowhere(lab, text):
    with pytest.raises(Refused, match="not valid") as refusal:
        invitations.invited_to(text)
    assert refusal.value.code == "no_invitation"


def test_an_invitation_ends_after_a_week(lab, monkeypatch):
    text = invitations.invitation(lab)
    monkeypatch.setattr(invitations, "LASTS_S", -1)
    with pytest.raises(Refused, match="over a week old"):
        invitations.invited_to(text)


def test_nobody_can_be_let_into_a_team_of_one_or_into_a_team_that_is_gone(lab):
    own = person("Bob").own_team
    for text in (invitations.invitation(own), invitations.invitation(lab)):
        Team.objects.filter(pk=lab.pk).delete()
        with pytest.raises(Refused):
            invitations.invited_to(text)


def test_a_person_cannot_be_in_more_teams_than_the_limit(lab):
    bob = person("Bob")
    for number in range(MOST_TEAMS - 1):
        create_team(bob, name=f"Team {number}")
    with pytest.raises(Refused, match=f"in {MOST_TEAMS} teams already"):
        invitations.join(bob, team=lab)


def test_a_member_may_leave_and_the_last_owner_may_not(lab):
    ada, bob = lab.members.get(), person("Bob")
    invitations.join(bob, team=lab)
    with pytest.raises(Refused, match="only owner"):
        invitations.leave(ada, team=lab)
    invitations.leave(bob, team=lab)
    assert members(lab) == {("Ada", "owner")}
    lab.memberships.create(user=bob, role="owner")
    invitations.leave(ada, team=lab)
    assert members(lab) == {("Bob", "owner")}


def test_nobody_leaves_the_team_of_one():
    ada = person("Ada")
    with pytest.raises(Refused, match="team of one"):
        invitations.leave(ada, team=ada.own_team)
