"""Pages about people: profile and tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from server.accounts.models import Scope, User
from server.accounts.session import SignedIn
from server.accounts.tokens import issue, revoke


class ProfileForm(forms.Form):
    """What others see of a person."""

    name = forms.CharField(max_length=80, label="Your name", help_text="Shown on leaderboards.")


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
@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: SignedIn) -> HttpResponse:
    """The asker's tokens.  A new one's text is part of this one answer and of no other."""
    form = TokenForm(request.POST or None, user=request.user)
    text = ""
    if form.is_valid():
        wish = form.cleaned_data
        _, text = issue(
            request.user,
            name=wish["name"],
            scopes=form.scopes(),
            days=wish["days"],
            at=now(),
            by=request.user,
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
