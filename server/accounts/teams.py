"""What people do with teams."""

from __future__ import annotations

from django.db import transaction

from server.accounts import audit
from server.accounts.models import Membership, Team, User
from server.errors import Refused

MOST_TEAMS = 10


@transaction.atomic
def create_team(user: User, *, name: str) -> Team:
    """A new team with its first member as owner.  Refused: the name is taken, or too many."""
    name = " ".join(name.split())
    if not name:
        raise Refused("no_name", "A team needs a name. Type one.", status=400)
    if Team.objects.filter(name__iexact=name, person=None).exists():
        raise Refused("name_taken", f"There is already a team called {name}. Choose another name.")
    if user.memberships.count() >= MOST_TEAMS:
        raise Refused(
            "too_many_teams", f"You are in {MOST_TEAMS} teams already. Leave one before you begin."
        )
    team = Team.objects.create(name=name)
    Membership.objects.create(team=team, user=user, role=Membership.Role.OWNER)
    audit.record("team", team.slug, after="created", by=user, note=name)
    return team


def team_of(user: User, slug: str = "") -> Team:
    """The team of a person with this slug; their own team of one if none is named.

    Refused (404): no such team, or not one of theirs, which must look the same.
    """
    teams = Team.objects.of(user)
    team = teams.filter(slug=slug).first() if slug else teams.filter(person=user).first()
    if team is None:
        mine = ", ".join(team.slug for team in teams)
        raise Refused("unknown_team", f"You are in no team {slug!r}. Yours: {mine}.", status=404)
    return team
