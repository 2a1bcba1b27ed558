"""How many notices wait for somebody, for the frame of every page."""

from __future__ import annotations

from typing import Any

from django import template

from server.notices.models import Receipt

register = template.Library()


@register.simple_tag
def unread_notices(user: Any) -> int:
    """How many notices a person has not looked at; 0 for a visitor."""
    return Receipt.objects.of(user).unread().count()
