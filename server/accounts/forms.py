"""What sign-up asks for besides e-mail and password."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest

from server.accounts.models import User


class SignupForm(forms.Form):
    """The name others see; it also names the team of one that every person starts with."""

    name = forms.CharField(max_length=80, label="Your name", help_text="Shown on leaderboards.")
    field_order = ["name", "email", "password1"]

    def signup(self, request: HttpRequest, user: User) -> None:
        """Called once the account exists."""
        user.rename(self.cleaned_data["name"])
