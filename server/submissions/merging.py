"""Two teams become one: members, submissions, uploads and grants of one go to the other.

Nobody gains by it: the two together may not have used more than one team could have by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from server.accounts import audit
from server.accounts.invitations import offered_by
from server.accounts.memberships import refuse_another_team, refuse_unless_owner
from server.accounts.models import Membership, Team, User
from server.challenges.models import Phase
from server.errors import Refused
from server.moments import in_words
from server.submissions.models import Grant, Item, Submission, Upload

DAY = timedelta(hours=24)
UNFINISHED = (Upload.Status.OPEN, Upload.Status.VERIFYING)


@dataclass(frozen=True, slots=True)
class Together:
    """What two teams have used of a phase, and the most that one could have; None: no limit."""

    phase: Phase
    team: int
    into: int
    most: int | None


@transaction.atomic
def merge(team: Team, *, offer: str, by: User, at: datetime) -> Team:
    """Merge a team into the one that made the offer; the team they are now.  Refused: a rule."""
    into = offered_by(offer)
    both = Team.objects.select_for_update().filter(pk__in=(team.pk, into.pk)).order_by("pk")
    held = {row.pk: row for row in both}  # in one order everywhere; who submits, waits
    team, into = held[team.pk], held[into.pk]
    offered_by(offer)  # again, now that nobody can withdraw it
    refuse_merge(team, into, by=by, at=at)
    moved = _move(team, into)
    _move_members(team, into)
    team.merged_into = into
    team.save(update_fields=["merged_into"])
    Team.objects.filter(merged_into=team).update(merged_into=into)
    audit.record("team", team.slug, after=f"merged into {into.slug}", by=by, note=moved)
    audit.record("team", into.slug, after=f"took in {team.slug}", by=by, note=moved)
    return into


def together(team: Team, into: Team, *, at: datetime) -> list[Together]:
    """Per phase that either has entries in, what they have used of it."""
    phases = Phase.objects.filter(submissions__team__in=(team, into)).distinct()
    return [
        Together(phase, _used(team, phase), _used(into, phase), _most((team, into), phase, at=at))
        for phase in phases.select_related("challenge")
    ]


def refuse_merge(team: Team, into: Team, *, by: User, at: datetime) -> None:
    """Refused, with its sentence, if a team may not go into another now."""
    refuse_unless_owner(by, team)
    _refuse_wrong_pair(team, into, at=at)
    _refuse_under_way(team, into)
    for row in together(team, into, at=at):
        until = row.phase.merge_until or row.phase.closes
        if at >= until:
            raise Refused(
                "too_late",
                f"Teams with entries in {row.phase} could merge until {in_words(until)}. "
                "People can still join a team by its invitation link.",
            )
        if row.most is not None and row.team and row.team + row.into > row.most:
            raise Refused(
                "too_many_together",
                f"Together the teams have used {row.team + row.into} submissions in {row.phase}, "
                f"and one team could have used {row.most} by now. Wait, if it is a limit per day.",
            )
    for member in team.members.exclude(teams=into) if team.person_id else ():
        refuse_another_team(member)


def _refuse_wrong_pair(team: Team, into: Team, *, at: datetime) -> None:
    if team == into:
        raise Refused("same_team", "A team cannot be merged into itself. Choose another of yours.")
    if team.baseline or into.baseline:
        raise Refused("baseline", "A reference team of the organisers cannot be merged.")
    if team.merged_into and not team.person_id:
        raise Refused("team_merged", f"{team} is part of {team.merged_into} already.")
    if team.merged_into and team.merged_into != into:
        entered = Phase.objects.filter(submissions__team=team.merged_into, closes__gt=at)
        if phase := entered.first():
            raise Refused(
                "team_merged",
                f"Your own entries went to {team.merged_into} already. They can go to no other team"
                f" until {phase} closes.",
            )


def _refuse_under_way(*teams: Team) -> None:
    live = Submission.objects.filter(team__in=teams, status__in=Submission.LIVE).first()
    if live:
        raise Refused("under_way", f"{live} has not ended. Wait for it, or cancel it, then merge.")
    upload = Upload.objects.filter(team__in=teams, status__in=UNFINISHED).first()
    if upload:
        raise Refused(
            "under_way",
            f"{upload.team} is uploading {upload.filename}. Let it finish, or discard it.",
        )


def _used(team: Team, phase: Phase) -> int:
    return Submission.objects.filter(team=team, phase=phase, quota_used=True).count()


def _most(teams: tuple[Team, Team], phase: Phase, *, at: datetime) -> int | None:
    """The most that one team could have used of a phase by now; None without a limit."""
    grants = Grant.objects.filter(team__in=teams, phase=phase)
    extra = {what: sum(g.extra for g in grants if g.what == what) for what in Grant.What.values}
    limits = []
    if phase.total:
        limits.append(phase.total + extra[Grant.What.TOTAL])
    if phase.per_day:
        days = (at - phase.opens) // DAY + 1  # those begun, the first with the phase
        limits.append(phase.per_day * days + extra[Grant.What.PER_DAY])
    return min(limits, default=None)


def _move(team: Team, into: Team) -> str:
    """Move all that is the team's; in words, what that was."""
    mine = Submission.objects.filter(team=team)
    chosen = Submission.objects.filter(team=into, chosen=True).values("phase")
    mine.filter(chosen=True, phase__in=chosen).update(chosen=False)  # one per phase: the receiver's
    counts = {
        "submissions": mine.update(team=into),
        "uploads": Upload.objects.filter(team=team).update(team=into),
        "grants": Grant.objects.filter(team=team).update(team=into),
    }
    Item.objects.filter(team=team).update(team=into)
    return ", ".join(f"{number} {what}" for what, number in counts.items())


def _move_members(team: Team, into: Team) -> None:
    """Members go with it, as members; a person keeps the team of one, empty."""
    there = Membership.objects.filter(team=into).values("user")
    newcomers = team.memberships.exclude(user__in=there)
    for membership in newcomers:
        Membership.objects.create(team=into, user=membership.user)
    if not team.person_id:
        team.memberships.all().delete()
