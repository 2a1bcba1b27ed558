"""What happened to submissions, for organisers, read-only but for cancelling."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet

from server.accounts.admin import ReadOnly
from server.errors import Refused
from server.submissions import intake
from server.submissions.models import Evaluation, Item, Submission, Upload


@admin.register(Upload)
class Uploads(ReadOnly):
    """Bytes and whose they are."""

    list_display = ("id", "filename", "team", "phase", "status", "size", "created", "expires")
    list_filter = ("status", "phase")
    search_fields = ("filename", "team__name", "sha256")


@admin.register(Submission)
class Submissions(ReadOnly):
    """Submissions; an incident's number finds the one it belongs to."""

    list_display = ("id", "method", "team", "phase", "status", "blame", "incident", "created")
    list_filter = ("status", "blame", "phase")
    search_fields = ("method", "team__name", "incident")
    actions = ("cancel",)

    @admin.action(description="Cancel what has not ended")
    def cancel(self, request: Any, queryset: QuerySet[Submission]) -> None:
        """Cancel each; those that have ended say so."""
        if not request.user.is_staff:
            return
        for submission in queryset:
            try:
                intake.cancel(submission, by=request.user)
            except Refused as refusal:
                messages.warning(request, f"{submission}: {refusal.sentence}")


@admin.register(Evaluation)
class Evaluations(ReadOnly):
    """Scorings of submissions."""

    list_display = ("id", "submission", "truth", "protocol", "status", "overall", "finished")
    list_filter = ("status", "truth")


@admin.register(Item)
class Items(ReadOnly):
    """Targets: who holds them, how often they were tried."""

    list_display = ("evaluation", "target", "status", "attempts", "worker", "lease", "seconds")
    list_filter = ("status", "label")
    search_fields = ("target",)
