"""Who joins, leaves, decides; at no time is a team without an owner."""

import threading

import pytest
from django.db import connections

from server.accounts import memberships
from server.accounts.models import AuditEvent, Membership
from server.accounts.teams import MOST_TEAMS, create_team, rename
from server.errors import Refused
from tests.server.making import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def lab(lab, bob):
    """With Bob as a member."""
    memberships.join(bob, team=lab)
    return lab


def members(team):
    return {(m.user.name, m.role) for m in team.memberships.select_related("user")}


def of(user, team) -> Membership:
    return team.memberships.get(user=user)


def test_joining_twice_makes_one_member_and_one_entry_in_the_records(lab, bob):
    memberships.join(bob, team=lab)
    assert members(lab) == {("Ada", "owner"), ("Bob", "member")}
    assert AuditEvent.objects.filter(kind="team", key="lab", after="joined").count() == 1


def test_a_person_cannot_be_in_more_teams_than_the_limit(lab):
    eve = person("Eve")
    for number in range(MOST_TEAMS - 1):
        create_team(eve, name=f"Team {number}")
    with pytest.raises(Refused, match=f"in {MOST_TEAMS} teams already"):
        memberships.join(eve, team=lab)


def test_a_member_may_leave_and_the_last_owner_may_not(lab, ada, bob):
    with pytest.raises(Refused, match="no owner"):
        memberships.leave(ada, team=lab)
    memberships.set_role(of(bob, lab), "owner", by=ada)
    memberships.leave(ada, team=lab)
    assert members(lab) == {("Bob", "owner")}
    memberships.leave(ada, team=lab)  # again: nothing to do


def test_nobody_leaves_the_team_of_one(ada):
    with pytest.raises(Refused, match="team of one"):
        memberships.leave(ada, team=ada.own_team)


def test_an_owner_makes_owners_and_members_and_each_change_is_written_down(lab, ada, bob):
    memberships.set_role(of(bob, lab), "owner", by=ada)
    memberships.set_role(of(bob, lab), "owner", by=ada)
    memberships.set_role(of(ada, lab), "member", by=bob)
    assert members(lab) == {("Ada", "member"), ("Bob", "owner")}
    events = AuditEvent.objects.filter(kind="role").order_by("pk")
    assert [(e.actor, e.before, e.after, e.note) for e in events] == [
        (ada, "member", "owner", "bob@example.org"),
        (bob, "owner", "member", "ada@example.org"),
    ]


def test_the_last_owner_stays_owner(lab, ada):
    with pytest.raises(Refused, match="Make another member owner first"):
        memberships.set_role(of(ada, lab), "member", by=ada)
    assert of(ada, lab).role == "owner"


def test_members_and_strangers_decide_nothing(lab, ada, bob):
    for by in (bob, person("Eve")):
        with pytest.raises(Refused) as refusal:
            memberships.set_role(of(bob, lab), "owner", by=by)
        assert refusal.value.status == 403
        with pytest.raises(Refused):
            memberships.remove(of(ada, lab), by=by)
    assert members(lab) == {("Ada", "owner"), ("Bob", "member")}


def test_an_owner_removes_others_and_leaves_by_leaving(lab, ada, bob):
    with pytest.raises(Refused, match="leave the team"):
        memberships.remove(of(ada, lab), by=ada)
    memberships.remove(of(bob, lab), by=ada)
    assert members(lab) == {("Ada", "owner")}
    event = AuditEvent.objects.get(after="removed")
    assert (event.actor, event.note) == (ada, "bob@example.org")


def test_nobody_joins_a_team_that_went_into_another(lab, ada):
    old = create_team(ada, name="Old")
    old.merged_into = lab
    old.save()
    with pytest.raises(Refused, match="part of Lab now"):
        memberships.join(person("Eve"), team=old)


def test_a_team_takes_another_name_but_keeps_its_slug(lab, ada):
    create_team(ada, name="Deep Cells")
    rename(lab, name="  New   lab ", by=ada)
    lab.refresh_from_db()
    assert (lab.slug, lab.name) == ("lab", "New lab")
    for name in ("deep cells", ""):
        with pytest.raises(Refused):
            rename(lab, name=name, by=ada)
    rename(lab, name="NEW LAB", by=ada)  # its own name, written otherwise
    with pytest.raises(Refused, match="profile"):
        rename(ada.own_team, name="X", by=ada)


@pytest.mark.parametrize("name", ["Join", "Merge"])
def test_no_team_takes_a_word_of_the_addresses(ada, name):
    assert create_team(ada, name=name).slug.startswith(f"{name.lower()}-")


@pytest.mark.django_db(transaction=True)
def test_of_two_owners_who_leave_at_once_one_stays(lab, ada, bob):
    memberships.set_role(of(bob, lab), "owner", by=ada)
    refused = []

    def leave(user) -> None:
        try:
            memberships.leave(user, team=lab)
        except Refused as refusal:
            refused.append(refusal.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=leave, args=(user,)) for user in (ada, bob)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["last_owner"]
    assert lab.memberships.filter(role="owner").count() == 1
