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
    name = _free_name(name)
    if user.memberships.count() >= MOST_TEAMS:
        raise Refused(
            "too_many_teams", f"You are in {MOST_TEAMS} teams already. Leave one before you begin."
        )
    team = Team.objects.create(name=name)
    Membership.objects.create(team=team, user=user, role=Membership.Role.OWNER)
    audit.record("team", team.slug, after="created", by=user, note=name)
    return team


@transaction.atomic
def rename(team: Team, *, name: str, by: User) -> None:
    """Take another name; the slug stays.  Refused: it is taken, or the team is one person's."""
    if team.person_id:
        raise Refused("own_team", "Your team of one has your own name. Change it in your profile.")
    before, team.name = team.name, _free_name(name, beside=team)
    team.save(update_fields=["name"])
    audit.record("team", team.slug, before=before, after=team.name, by=by, note="renamed")


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


def _free_name(name: str, *, beside: Team | None = None) -> str:
    """The name without needless blanks.  Refused: it is empty, or another team's."""
    name = " ".join(name.split())
    if not name:
        raise Refused("no_name", "A team needs a name. Type one.", status=400)
    others = Team.objects.filter(name__iexact=name, person=None)
    if beside:
        others = others.exclude(pk=beside.pk)
    if others.exists():
        raise Refused("name_taken", f"There is already a team called {name}. Choose another name.")
    return name
