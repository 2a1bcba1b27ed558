"""What happened to submissions, for organisers, read-only but for cancelling and trying again."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.timezone import now

from server.accounts.admin import ReadOnly, each
from server.errors import Refused
from server.submissions import evaluation, grants, intake
from server.submissions.models import Evaluation, Grant, Item, Submission, Upload
from server.submissions.rulings import Rulings


@admin.register(Upload)
class Uploads(ReadOnly):
    """Bytes and whose they are."""

    list_display = ("id", "filename", "team", "phase", "status", "size", "created", "expires")
    list_filter = ("status", "phase")
    search_fields = ("filename", "team__name", "sha256")


@admin.register(Submission)
class Submissions(Rulings, ReadOnly):
    """Submissions; an incident's number finds the one it belongs to."""

    list_display = ("id", "method", "team", "phase", "status", "blame", "incident", "created")
    list_filter = ("status", "blame", "phase")
    search_fields = ("method", "team__name", "incident")
    actions = ("cancel", "try_again", "disqualify", "reinstate")

    @admin.action(description="Cancel what has not ended")
    def cancel(self, request: Any, queryset: QuerySet[Submission]) -> None:
        """Cancel each; those that have ended say so."""
        each(request, queryset, partial(intake.cancel, by=request.user), done="{}: cancelled.")

    @admin.action(description="Try again: score what failed or is in quarantine")
    def try_again(self, request: Any, queryset: QuerySet[Submission]) -> None:
        """Each that has failed; the others say why not."""
        each(request, queryset, partial(intake.try_again, by=request.user), done="{}: tried again.")


@admin.register(Evaluation)
class Evaluations(ReadOnly):
    """Scorings of submissions; of a re-scoring, what failed is tried again here."""

    list_display = ("id", "submission", "truth", "protocol", "status", "overall", "finished")
    list_filter = ("status", "background", "truth")
    actions = ("try_again",)

    @admin.action(description="Try again: score what failed or is in quarantine")
    def try_again(self, request: Any, queryset: QuerySet[Evaluation]) -> None:
        """Each that has such targets; the others say why not."""
        act = partial(evaluation.try_again, by=request.user)
        each(request, queryset, act, done="{}: tried again.")


@admin.register(Item)
class Items(ReadOnly):
    """Targets: who holds them, how often they were tried."""

    list_display = (
        *("evaluation", "target", "status", "attempts", "deaths", "trouble", "worker", "lease"),
        *("seconds", "reused"),
    )
    list_filter = ("status", "label", "queue", "background")
    search_fields = ("target", "trouble")


class GrantForm(ModelForm):
    """What is given to whom, and why."""

    class Meta:
        model = Grant
        fields = ("team", "phase", "what", "extra", "reason", "expires")

    def clean(self) -> dict[str, Any]:
        """Says what makes no sense."""
        wish = super().clean() or {}
        if self.errors:
            return wish
        try:
            grants.refuse_senseless(Grant(**wish), at=now())
        except Refused as refusal:
            raise ValidationError(refusal.sentence) from refusal
        return wish


@admin.register(Grant)
class Grants(admin.ModelAdmin):
    """Extra submissions: made once, told to the team, ended early if need be, never edited."""

    form = GrantForm
    list_display = ("team", "phase", "what", "extra", "reason", "by", "created", "expires")
    list_filter = ("phase", "what")
    search_fields = ("team__name", "reason")
    autocomplete_fields = ("team",)
    actions = ("end",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The list, but no row."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: a grant is ended."""
        return False

    def save_model(self, request: Any, obj: Grant, form: ModelForm[Grant], change: bool) -> None:
        """Give it."""
        made = grants.grant(**form.cleaned_data, by=request.user, at=now())
        obj.pk = made.pk

    @admin.action(description="End now")
    def end(self, request: Any, queryset: QuerySet[Grant]) -> None:
        """End each; those that have ended say so."""
        each(request, queryset, partial(grants.end, by=request.user, at=now()), done="{}: ended.")
