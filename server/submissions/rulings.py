"""Actions of organisers on submissions that need a reason, for the admin's list."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet

from server.accounts.admin import each
from server.submissions import selection
from server.submissions.models import Submission


class WithReason(ActionForm):
    """Which action, and why."""

    reason = forms.CharField(required=False, max_length=2000, label="Reason (the team is shown it)")


class Rulings(admin.ModelAdmin):  # type: ignore[type-arg]  # takes none when it runs
    """Taking entries off the board, and putting them back."""

    action_form = WithReason

    @admin.action(description="Disqualify: take off the board")
    def disqualify(self, request: Any, queryset: QuerySet[Submission]) -> None:
        """Each, for the reason given beside the action."""
        act = partial(selection.disqualify, by=request.user, reason=_reason(request))
        each(request, queryset, act, done="{}: off the board.")

    @admin.action(description="Reinstate: put back on the board")
    def reinstate(self, request: Any, queryset: QuerySet[Submission]) -> None:
        """Each that is disqualified."""
        act = partial(selection.reinstate, by=request.user, reason=_reason(request))
        each(request, queryset, act, done="{}: on the board again.")


def _reason(request: Any) -> str:
    text: str = request.POST.get("reason", "")
    return text
