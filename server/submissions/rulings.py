"""Actions of organisers on submissions that need a reason, for the admin's list."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet

from server.errors import Refused
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
        self._rule(request, queryset, selection.disqualify)

    @admin.action(description="Reinstate: put back on the board")
    def reinstate(self, request: Any, queryset: QuerySet[Submission]) -> None:
        """Each that is disqualified."""
        self._rule(request, queryset, selection.reinstate)

    def _rule(self, request: Any, queryset: QuerySet[Submission], act: Any) -> None:
        if not request.user.is_staff:
            return
        for submission in queryset:
            try:
                act(submission, by=request.user, reason=request.POST.get("reason", ""))
                messages.success(request, f"{submission}: done.")
            except Refused as refusal:
                messages.warning(request, f"{submission}: {refusal.sentence}")
