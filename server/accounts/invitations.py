"""Let somebody into a team by a link.  A link is signed, not stored, and lasts a week."""

from __future__ import annotations

from django.core import signing
from django.db import transaction

from server.accounts import audit
from server.accounts.models import Membership, Team, User
from server.accounts.teams import MOST_TEAMS
from server.errors import Refused

LASTS_S = 7 * 24 * 3600
SALT = "team-invitation"


def invitation(team: Team) -> str:
    """The signed text that lets whoever holds it into a team."""
    return signing.dumps(team.slug, salt=SALT)


def invited_to(text: str) -> Team:
    """The team a link leads into.  Refused: it is damaged, too old, or the team is gone."""
    try:
        slug = signing.loads(text, salt=SALT, max_age=LASTS_S)
    except signing.SignatureExpired as error:
        raise Refused(
            "old_invitation", "This invitation is over a week old. Ask the team for a new link."
        ) from error
    except signing.BadSignature as error:
        raise _no_invitation() from error
    team = Team.objects.filter(slug=slug, person=None).first()
    if team is None:
        raise _no_invitation()
    return team


@transaction.atomic
def join(user: User, *, team: Team) -> None:
    """Make a person a member; twice changes nothing.  Refused: they are in too many teams."""
    if team.memberships.filter(user=user).exists():
        return
    if user.memberships.count() >= MOST_TEAMS:
        raise Refused("too_many_teams", f"You are in {MOST_TEAMS} teams already. Leave one first.")
    Membership.objects.create(team=team, user=user)
    _record(user, team, "joined")


@transaction.atomic
def leave(user: User, *, team: Team) -> None:
    """End a membership.  Refused: it is one's own team of one, or the team would have no owner."""
    if team.person_id == user.pk:
        raise Refused("own_team", "This is your own team of one; it stays as long as you do.")
    owners = team.memberships.filter(role=Membership.Role.OWNER)
    if owners.filter(user=user).exists() and owners.count() == 1:
        raise Refused(
            "last_owner",
            "You are the team's only owner, so its submissions would belong to nobody. "
            "Ask the organisers to make another member owner first.",
        )
    if team.memberships.filter(user=user).delete()[0]:
        _record(user, team, "left")


def _record(user: User, team: Team, what: str) -> None:
    audit.record("team", team.slug, after=what, by=user, note=str(user))


def _no_invitation() -> Refused:
    return Refused(
        "no_invitation",
        "This invitation is not valid. Copy the whole link, or ask the team for a new one.",
        status=404,
    )
