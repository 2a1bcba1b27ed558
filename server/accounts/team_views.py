"""Pages about teams: mine, one with its members and links, joining and leaving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from server.accounts import invitations, memberships
from server.accounts.models import Membership, Team
from server.accounts.session import SignedIn
from server.accounts.teams import create_team, rename
from server.errors import Refused


class TeamForm(forms.Form):
    """A team's name."""

    name = forms.CharField(max_length=80, label="Name", help_text="Shown on leaderboards.")


@login_required
@require_http_methods(["GET", "POST"])
def teams(request: SignedIn) -> HttpResponse:
    """The asker's teams, and a form to begin one."""
    form = TeamForm(request.POST or None)
    if form.is_valid():
        try:
            team = create_team(request.user, name=form.cleaned_data["name"])
        except Refused as refusal:
            form.add_error("name", refusal.sentence)
        else:
            messages.success(request, f"{team} is ready. Send its members the link below.")
            return redirect("team", team.slug)
    mine = Team.objects.of(request.user).prefetch_related("memberships__user")
    return render(request, "accounts/teams.html", {"teams": mine, "form": form})


@login_required
def team(request: SignedIn, slug: str) -> HttpResponse:
    """Members of one of the asker's teams, and for its owners the links that let others in.

    The page of a team that went into another leads its members there.
    """
    mine = Team.objects.of(request.user)
    row = mine.filter(slug=slug).first()
    if row is None:
        return redirect("team", get_object_or_404(mine, merged__slug=slug).slug)
    members = row.memberships.select_related("user").order_by("joined")
    own = next(m for m in members if m.user_id == request.user.pk)
    context: dict[str, Any] = {"team": row, "members": members, "own": own}
    if own.role == Membership.Role.OWNER and row.person_id is None:
        join = reverse("join-team", args=[invitations.invitation(row)])
        merge = reverse("merge-team", args=[invitations.merge_offer(row)])
        context |= {
            "link": request.build_absolute_uri(join),
            "offer": request.build_absolute_uri(merge),
            "form": TeamForm(initial={"name": row.name}),
        }
    return render(request, "accounts/team.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def join_team(request: SignedIn, text: str) -> HttpResponse:
    """Asks before it lets somebody in, so that opening a link changes nothing."""
    try:
        team = invitations.invited_to(text)
        if request.method == "POST":
            memberships.join(request.user, team=team)
            messages.success(request, f"You are in {team} now.")
            return redirect("team", team.slug)
    except Refused as refusal:
        messages.error(request, refusal.sentence)
        return redirect("teams")
    return render(request, "accounts/join.html", {"team": team})


@login_required
@require_POST
def leave_team(request: SignedIn, slug: str) -> HttpResponse:
    """Out of a team."""
    team = get_object_or_404(Team.objects.of(request.user), slug=slug)
    try:
        memberships.leave(request.user, team=team)
    except Refused as refusal:
        messages.error(request, refusal.sentence)
        return redirect("team", slug)
    messages.success(request, f"You have left {team}.")
    return redirect("teams")


@login_required
@require_POST
def rename_team(request: SignedIn, slug: str) -> HttpResponse:
    """Another name."""

    def act(team: Team) -> str:
        rename(team, name=request.POST.get("name", "")[:80], by=request.user)
        return f"The team is called {team} now."

    return _as_owner(request, slug, act)


@login_required
@require_POST
def withdraw_links(request: SignedIn, slug: str) -> HttpResponse:
    """No link that is about lets anybody in from now on."""

    def act(team: Team) -> str:
        invitations.withdraw(team, by=request.user)
        return "All earlier links are withdrawn. The ones below are new."

    return _as_owner(request, slug, act)


@login_required
@require_POST
def member(request: SignedIn, slug: str, pk: int) -> HttpResponse:
    """Remove a member, or give them another role."""

    def act(team: Team) -> str:
        row = get_object_or_404(team.memberships.select_related("user", "team"), pk=pk)
        match request.POST.get("do"):
            case "remove":
                memberships.remove(row, by=request.user)
                return f"{row.user} is no longer in {team}."
            case Membership.Role.OWNER | Membership.Role.MEMBER as role:
                memberships.set_role(row, role, by=request.user)
                return f"{row.user} is {'an owner' if role == 'owner' else 'a member'} now."
        raise Http404

    return _as_owner(request, slug, act)


def _as_owner(request: SignedIn, slug: str, act: Callable[[Team], Any]) -> HttpResponse:
    """Do what only owners may, say what was done or why not, and show the team."""
    team = get_object_or_404(Team.objects.of(request.user), slug=slug)
    try:
        memberships.refuse_unless_owner(request.user, team)
        messages.success(request, act(team))
    except Refused as refusal:
        messages.error(request, refusal.sentence)
    return redirect("team", slug)
