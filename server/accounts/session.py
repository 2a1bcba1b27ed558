"""The type of a request whose sender has logged in, for views behind `login_required`."""

from __future__ import annotations

from django.http import HttpRequest

from server.accounts.models import User


class SignedIn(HttpRequest):
    """A request by a person."""

    user: User
