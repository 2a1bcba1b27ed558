"""What was told and whether it arrived, for organisers; nothing of it is edited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from server.accounts.admin import ReadOnly
from server.notices.models import Delivery, Notice, Webhook


@admin.register(Notice)
class Notices(ReadOnly):
    """What happened."""

    list_display = ("created", "kind", "subject", "team", "staff")
    list_filter = ("kind", "staff")
    search_fields = ("subject", "team__slug")
    exclude = ("once",)
    date_hierarchy = "created"


@admin.register(Delivery)
class Deliveries(ReadOnly):
    """Mails and posts on their way, and those that did not arrive."""

    list_display = ("changed", "notice", "user", "webhook", "status", "attempts", "answer", "due")
    list_filter = ("status",)
    search_fields = ("user__email", "webhook__url")


@admin.register(Webhook)
class Webhooks(ReadOnly):
    """Where notices are posted; organisers may remove any."""

    list_display = ("url", "team", "by", "created")
    search_fields = ("url", "team__slug")
    exclude = ("nonce",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Organisers with the right to."""
        return admin.ModelAdmin.has_delete_permission(self, request, obj)
