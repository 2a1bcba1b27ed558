"""Who is in a team, and who decides there: join, leave, remove, make owner."""

from __future__ import annotations

from django.db import transaction

from server.accounts import audit
from server.accounts.models import Membership, Team, User
from server.accounts.teams import MOST_TEAMS
from server.errors import Refused

Role = Membership.Role


@transaction.atomic
def join(user: User, *, team: Team) -> None:
    """Make a person a member; twice changes nothing.  Refused: they are in too many teams."""
    team = _held(team)
    if team.memberships.filter(user=user).exists():
        return
    if team.merged_into:
        raise Refused("team_merged", f"{team} is part of {team.merged_into} now. Join that team.")
    refuse_another_team(user)
    Membership.objects.create(team=team, user=user)
    audit.record("team", team.slug, after="joined", by=user, note=user.email)


def refuse_another_team(user: User) -> None:
    """Refused if a person is in as many teams as one may be."""
    if user.memberships.count() >= MOST_TEAMS:
        raise Refused("too_many_teams", f"You are in {MOST_TEAMS} teams already. Leave one first.")


@transaction.atomic
def leave(user: User, *, team: Team) -> None:
    """End one's membership.  Refused: it is one's team of one, or would have no owner."""
    if team.person_id == user.pk:
        raise own_team()
    membership = _held(team).memberships.filter(user=user).first()
    if membership is None:
        return
    _refuse_without_owner(membership)
    membership.delete()
    audit.record("team", team.slug, after="left", by=user, note=user.email)


@transaction.atomic
def remove(membership: Membership, *, by: User) -> None:
    """End another's membership; what was submitted stays the team's.  Refused: as `set_role`."""
    team = _held(membership.team)
    refuse_unless_owner(by, team)
    if membership.user_id == by.pk:
        raise Refused("not_yourself", "To end your own membership, leave the team.")
    membership.delete()
    audit.record("team", team.slug, after="removed", by=by, note=membership.user.email)


@transaction.atomic
def set_role(membership: Membership, role: str, *, by: User) -> None:
    """Make a member an owner, or the reverse.  Refused: `by` is no owner; the last one would go."""
    team = _held(membership.team)
    refuse_unless_owner(by, team)
    membership.refresh_from_db()
    before = membership.role
    if before == role:
        return
    _refuse_without_owner(membership)
    membership.role = role
    membership.save(update_fields=["role"])
    email = membership.user.email
    audit.record("role", team.slug, before=before, after=role, by=by, note=email)


def refuse_unless_owner(user: User, team: Team) -> None:
    """Refused (403) if a person does not own a team."""
    if not team.memberships.filter(user=user, role=Role.OWNER).exists():
        raise Refused(
            "not_an_owner",
            f"Only an owner of {team} may do that. Ask one of them, or ask to become one.",
            status=403,
        )


def own_team() -> Refused:
    """What is said to whoever would change a team of one."""
    return Refused("own_team", "This is your own team of one; it stays as long as you do.")


def _held(team: Team) -> Team:
    """The team's row, locked: two owners who leave at once cannot leave it without one."""
    return Team.objects.select_for_update().get(pk=team.pk)


def _refuse_without_owner(membership: Membership) -> None:
    owners = Membership.objects.filter(team=membership.team, role=Role.OWNER)
    if membership.role == Role.OWNER and not owners.exclude(pk=membership.pk).exists():
        raise Refused(
            "last_owner",
            "The team would have no owner, so its submissions would belong to nobody. Make another "
            "member owner first.",
        )
