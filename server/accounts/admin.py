"""People and teams for organisers; what happened is read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import BaseUserCreationForm, UserChangeForm
from django.http import HttpRequest

from server.accounts.models import AuditEvent, Membership, Team, Token, User


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


@admin.register(Team)
class Teams(admin.ModelAdmin):
    """Teams with their members."""

    list_display = ("name", "slug", "baseline", "created")
    list_filter = ("baseline",)
    search_fields = ("name", "slug")
    readonly_fields = ("slug", "person", "created")
    inlines = (Members,)


@admin.register(Token)
class Tokens(ReadOnly):
    """Tokens may be revoked, nothing else."""

    list_display = ("name", "prefix", "user", "created", "expires", "last_used")
    search_fields = ("prefix", "user__email")
    exclude = ("digest",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Organisers with the right to."""
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(AuditEvent)
class Audit(ReadOnly):
    """Who changed what."""

    list_display = ("at", "actor", "kind", "key", "before", "after")
    list_filter = ("kind",)
    search_fields = ("key", "note")
    date_hierarchy = "at"
