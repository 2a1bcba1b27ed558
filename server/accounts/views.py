"""Pages about people: profile, teams, tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from server.accounts import invitations
from server.accounts.models import Membership, Scope, Team, User
from server.accounts.session import SignedIn
from server.accounts.teams import create_team
from server.accounts.tokens import issue, revoke
from server.errors import Refused


class ProfileForm(forms.Form):
    """What others see of a person."""

    name = forms.CharField(max_length=80, label="Your name", help_text="Shown on leaderboards.")


class TeamForm(forms.Form):
    """A team to begin."""

    name = forms.CharField(max_length=80, label="Name", help_text="Shown on leaderboards.")


MAY: dict[str, tuple[str, tuple[str, ...]]] = {
    Scope.SUBMIT: ("read and submit", (Scope.READ, Scope.SUBMIT)),
    Scope.READ: ("read only", (Scope.READ,)),
    Scope.ORGANISE: ("read, submit and organise", (Scope.READ, Scope.SUBMIT, Scope.ORGANISE)),
}


class TokenForm(forms.Form):
    """A token to make."""

    name = forms.CharField(
        max_length=80, label="What it is for", help_text="For example the machine's name."
    )
    may = forms.ChoiceField(
        label="It may",
        choices=[(may, text) for may, (text, _) in MAY.items() if may != Scope.ORGANISE],
    )
    days = forms.TypedChoiceField(
        label="It lasts",
        coerce=int,
        initial=90,
        choices=[(7, "a week"), (30, "30 days"), (90, "90 days"), (365, "a year")],
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if user.is_staff:
            may = cast(forms.ChoiceField, self.fields["may"])
            may.choices = [(word, text) for word, (text, _) in MAY.items()]

    def scopes(self) -> tuple[str, ...]:
        """What the chosen word stands for."""
        return MAY[self.cleaned_data["may"]][1]


@login_required
@require_http_methods(["GET", "POST"])
def profile(request: SignedIn) -> HttpResponse:
    """Name, e-mail, password."""
    form = ProfileForm(request.POST or None, initial={"name": request.user.name})
    if form.is_valid():
        request.user.rename(form.cleaned_data["name"])
        messages.success(request, "Your name is changed.")
        return redirect("profile")
    return render(request, "accounts/profile.html", {"form": form})


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
    """Members of one of the asker's teams, and for its owners the link that lets others in."""
    team = get_object_or_404(Team.objects.of(request.user), slug=slug)
    members = team.memberships.select_related("user").order_by("joined")
    own = next(m for m in members if m.user_id == request.user.pk)
    link = ""
    if own.role == Membership.Role.OWNER and team.person_id is None:
        path = reverse("join-team", args=[invitations.invitation(team)])
        link = request.build_absolute_uri(path)
    context = {"team": team, "members": members, "own": own, "link": link}
    return render(request, "accounts/team.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def join_team(request: SignedIn, text: str) -> HttpResponse:
    """Asks before it lets somebody in, so that opening a link changes nothing."""
    try:
        team = invitations.invited_to(text)
        if request.method == "POST":
            invitations.join(request.user, team=team)
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
        invitations.leave(request.user, team=team)
    except Refused as refusal:
        messages.error(request, refusal.sentence)
        return redirect("team", slug)
    messages.success(request, f"You have left {team}.")
    return redirect("teams")


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: SignedIn) -> HttpResponse:
    """The asker's tokens.  A new one's text is part of this one answer and of no other."""
    form = TokenForm(request.POST or None, user=request.user)
    text = ""
    if form.is_valid():
        wish = form.cleaned_data
        _, text = issue(
            request.user, name=wish["name"], scopes=form.scopes(), days=wish["days"], at=now()
        )
        form = TokenForm(user=request.user)
    soon = now() + timedelta(days=14)
    context = {"tokens": request.user.tokens.all(), "form": form, "text": text}
    return render(request, "accounts/tokens.html", context | {"now": now(), "soon": soon})


@login_required
@require_POST
def revoke_token(request: SignedIn, pk: int) -> HttpResponse:
    """From now on the token opens nothing."""
    token = get_object_or_404(request.user.tokens, pk=pk)
    revoke(token, by=request.user)
    messages.success(request, f"The token {token.name} is revoked.")
    return redirect("tokens")
