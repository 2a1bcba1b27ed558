"""People and teams for organisers; what happened is read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import BaseUserCreationForm, UserChangeForm
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, StreamingHttpResponse

from server.accounts import audit
from server.accounts.models import AuditEvent, Membership, Team, Token, User
from server.accounts.records import exported
from server.accounts.tokens import revoke
from server.errors import Refused

RIGHTS = ("is_active", "is_staff", "is_superuser")


class NewUser(BaseUserCreationForm):
    """A person made by an organiser."""

    class Meta:
        model = User
        fields = ("email", "name")


class ReadOnly(admin.ModelAdmin):
    """Rows that only the system writes."""

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        """Nobody."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody."""
        return False


def each(request: Any, rows: Iterable[Any], act: Callable[[Any], object], *, done: str) -> None:
    """An organiser's action on each row, told in a message: what was done, or why it was refused.

    done: a sentence with {} for the row.
    """
    for row in rows:
        try:
            act(row)
        except Refused as refusal:
            messages.warning(request, f"{row}: {refusal.sentence}")
        else:
            messages.success(request, done.format(row))


class Members(admin.TabularInline):
    """Who is in a team."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user",)


@admin.register(User)
class People(UserAdmin):
    """People, found by e-mail or name."""

    form = UserChangeForm
    add_form = NewUser
    ordering = ("email",)
    list_display = ("email", "name", "is_staff", "is_active", "date_joined")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "password1", "password2")}),)

    def save_model(self, request: Any, obj: User, form: ModelForm, change: bool) -> None:
        """Store, and write down rights that were given or taken."""
        super().save_model(request, obj, form, change)
        for name in RIGHTS:
            if name in form.changed_data:
                before, after = form.initial.get(name), form.cleaned_data[name]
                audit.record(
                    "role", obj.email, before=f"{name} {before}", after=f"{name} {after}",
                    by=request.user,
                )  # fmt: skip

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Those without entries; others are made inactive, and their entries stay."""
        teams = [obj.own_team] if obj and hasattr(obj, "own_team") else []
        return _without_entries(teams) and super().has_delete_permission(request, obj)

    def delete_model(self, request: Any, obj: User) -> None:
        """Remove, and write it down."""
        audit.record("role", obj.email, before="account", after="deleted", by=request.user)
        super().delete_model(request, obj)


@admin.register(Team)
class Teams(admin.ModelAdmin):
    """Teams with their members."""

    list_display = ("name", "slug", "baseline", "created")
    list_filter = ("baseline",)
    search_fields = ("name", "slug")
    readonly_fields = ("slug", "person", "merged_into", "created")
    inlines = (Members,)

    def save_model(self, request: Any, obj: Team, form: ModelForm, change: bool) -> None:
        """Store, and write down what was changed."""
        super().save_model(request, obj, form, change)
        for name in form.changed_data:
            before, after = form.initial.get(name, ""), form.cleaned_data[name]
            audit.record("team", obj.slug, before=f"{name} {before}", after=f"{name} {after}",
                         by=request.user)  # fmt: skip

    def save_formset(self, request: Any, form: Any, formset: Any, change: bool) -> None:
        """Store members, and write down who came, went, or was given another role."""
        super().save_formset(request, form, formset, change)
        changed = [row for row, _ in formset.changed_objects]
        for row in [*formset.new_objects, *changed]:
            audit.record("role", row.team.slug, after=row.role, by=request.user,
                         note=row.user.email)  # fmt: skip
        for row in formset.deleted_objects:
            audit.record("role", row.team.slug, before=row.role, after="removed",
                         by=request.user, note=row.user.email)  # fmt: skip

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Those without entries."""
        return _without_entries([obj] if obj else []) and super().has_delete_permission(
            request, obj
        )

    def delete_model(self, request: Any, obj: Team) -> None:
        """Remove, and write it down."""
        audit.record("team", obj.slug, before=obj.name, after="deleted", by=request.user)
        super().delete_model(request, obj)


@admin.register(Token)
class Tokens(ReadOnly):
    """Tokens may be revoked, nothing else."""

    list_display = ("name", "prefix", "user", "created", "expires", "last_used")
    search_fields = ("prefix", "user__email")
    exclude = ("digest",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Organisers with the right to."""
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def delete_model(self, request: Any, obj: Token) -> None:
        """Revoke it."""
        revoke(obj, by=request.user)

    def delete_queryset(self, request: Any, queryset: QuerySet[Token]) -> None:
        """Revoke each."""
        for token in queryset.select_related("user"):
            revoke(token, by=request.user)


@admin.register(AuditEvent)
class Audit(ReadOnly):
    """Who changed what; `manage.py audit --verify` says whether any of it was tampered with."""

    list_display = ("at", "number", "actor_name", "kind", "key", "before", "after", "note")
    list_filter = ("kind", "at")
    search_fields = ("key", "actor_name", "before", "after", "note")
    date_hierarchy = "at"
    actions = ("export_lines", "export_table")

    @admin.action(description="Export as JSON Lines")
    def export_lines(self, request: Any, queryset: QuerySet[AuditEvent]) -> StreamingHttpResponse:
        """Those chosen, in the order of the chain."""
        return exported(queryset, "jsonl")

    @admin.action(description="Export as CSV")
    def export_table(self, request: Any, queryset: QuerySet[AuditEvent]) -> StreamingHttpResponse:
        """The same as a table."""
        return exported(queryset, "csv")


def _without_entries(teams: Iterable[Team]) -> bool:
    """True if no board would change: with a team go its submissions."""
    return not any(team.submissions.exists() for team in teams)
