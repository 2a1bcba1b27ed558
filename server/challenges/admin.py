"""Dates and limits for organisers; manifests and truths come from `manage.py load_challenge`."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest

from server.accounts import audit
from server.accounts.admin import ReadOnly
from server.challenges.models import Challenge, Phase, TruthVersion


class Phases(admin.TabularInline):
    """The phases of a challenge; they are edited on their own page."""

    model = Phase
    extra = 0
    fields = readonly_fields = ("slug", "title", "opens", "closes", "visibility", "truth")
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A phase needs a truth: it comes with the bundle."""
        return False


@admin.register(Challenge)
class Challenges(admin.ModelAdmin):
    """Texts of a challenge."""

    list_display = ("title", "slug", "protocol", "created")
    readonly_fields = ("slug", "protocol", "created")
    inlines = (Phases,)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Challenges come from bundles."""
        return False


@admin.register(Phase)
class PhasePage(admin.ModelAdmin):
    """Dates, limits and visibility of a phase; each change is in the audit."""

    list_display = ("title", "challenge", "opens", "closes", "visibility", "per_day")
    list_filter = ("challenge",)
    readonly_fields = ("challenge", "slug", "truth", "protocol")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Phases come from bundles."""
        return False

    def save_model(self, request: Any, obj: Phase, form: ModelForm[Phase], change: bool) -> None:
        """Store, and write down who changed what."""
        super().save_model(request, obj, form, change)
        for name in form.changed_data:
            audit.record(
                "phase", f"{obj.challenge.slug}/{obj.slug}", by=request.user,
                before=f"{name} {form.initial.get(name)}"[:80],
                after=f"{name} {form.cleaned_data[name]}"[:80],
            )  # fmt: skip


@admin.register(TruthVersion)
class Truths(ReadOnly):
    """States of the truth, never edited."""

    list_display = ("challenge", "number", "created", "digest", "note")
    exclude = ("digests",)
