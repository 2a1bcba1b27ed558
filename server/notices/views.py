"""Pages about notices: what happened, what comes by e-mail, where webhooks go."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from server.accounts.models import Team
from server.accounts.session import SignedIn
from server.errors import Refused
from server.notices import muting, webhooks
from server.notices.models import Receipt, Webhook

PER_PAGE = 50
ORGANISERS = "-"  # the choice that is no team's slug
SHOWN = 100  # of a webhook's deliveries


class WebhookForm(forms.Form):
    """Where to post, for whom, and which kinds (none chosen: all)."""

    whose = forms.ChoiceField(label="For")
    url = forms.CharField(
        label="Address", max_length=500, widget=forms.URLInput(attrs={"placeholder": "https://…"})
    )
    kinds = forms.MultipleChoiceField(choices=muting.CHOICES, required=False)

    def __init__(self, data: Any, *, request: SignedIn) -> None:
        super().__init__(data)
        self.teams = {team.slug: team for team in webhooks.owned(request.user)}
        choices = [(slug, team.name) for slug, team in self.teams.items()]
        choices += [(ORGANISERS, "the organisers")] if request.user.is_staff else []
        self.fields["whose"] = forms.ChoiceField(label="For", choices=choices)

    @property
    def team(self) -> Team | None:
        """Whose it is to be; None: the organisers'."""
        return self.teams.get(self.cleaned_data["whose"])


@login_required
@never_cache
@require_safe
def notices(request: SignedIn) -> HttpResponse:
    """One's own, newest first, and what comes by e-mail."""
    rows = Receipt.objects.of(request.user)
    context = {
        "page": Paginator(rows, PER_PAGE).get_page(request.GET.get("page")),
        "unread": rows.unread().count(),
        "kinds": muting.wanted(request.user),
    }
    return render(request, "notices/notices.html", context)


@login_required
@require_POST
def read(request: SignedIn) -> HttpResponse:
    """All of one's own have been seen."""
    Receipt.objects.of(request.user).unread().update(read=now())
    return redirect("notices")


@login_required
@require_POST
def choose_mails(request: SignedIn) -> HttpResponse:
    """From now on only the kinds that are ticked come by e-mail."""
    ticked = set(request.POST.getlist("kind"))
    muting.mute(request.user, [kind for kind, _ in muting.CHOICES if kind not in ticked])
    messages.success(request, "Saved: you get e-mail about what is ticked.")
    return redirect("notices")


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def all_webhooks(request: SignedIn) -> HttpResponse:
    """Those the asker manages.  A new one's secret is part of this one answer and of no other."""
    form, made = WebhookForm(request.POST or None, request=request), None
    if form.is_valid():
        wish = form.cleaned_data
        try:
            made = webhooks.add(request.user, team=form.team, url=wish["url"], kinds=wish["kinds"])
        except Refused as refusal:
            form.add_error(None, refusal.sentence)
        else:
            form = WebhookForm(None, request=request)
    context = {"hooks": webhooks.managed(request.user), "form": form, "made": made}
    return render(request, "notices/webhooks.html", context | {"kinds": muting.CHOICES})


@login_required
@require_safe
def webhook(request: SignedIn, pk: int) -> HttpResponse:
    """One, with its last deliveries."""
    hook = _managed(request, pk)
    deliveries = hook.deliveries.select_related("notice").order_by("-changed")[:SHOWN]
    return render(request, "notices/webhook.html", {"hook": hook, "deliveries": deliveries})


@login_required
@require_POST
def try_webhook(request: SignedIn, pk: int) -> HttpResponse:
    """Post something to it."""
    webhooks.try_out(_managed(request, pk))
    messages.success(request, "A test is on its way. Reload this page to see what came back.")
    return redirect("webhook", pk)


@login_required
@require_POST
def remove_webhook(request: SignedIn, pk: int) -> HttpResponse:
    """Nothing is posted there any more."""
    hook = _managed(request, pk)
    webhooks.remove(hook, by=request.user)
    messages.success(request, f"Nothing is posted to {hook.url} any more.")
    return redirect("webhooks")


def _managed(request: SignedIn, pk: int) -> Webhook:
    """One that the asker manages; any other looks as if it did not exist."""
    return get_object_or_404(webhooks.managed(request.user), pk=pk)


urlpatterns = [
    path("notices/", notices, name="notices"),
    path("notices/read/", read, name="read-notices"),
    path("notices/mails/", choose_mails, name="choose-mails"),
    path("webhooks/", all_webhooks, name="webhooks"),
    path("webhooks/<int:pk>/", webhook, name="webhook"),
    path("webhooks/<int:pk>/test/", try_webhook, name="try-webhook"),
    path("webhooks/<int:pk>/remove/", remove_webhook, name="remove-webhook"),
]
