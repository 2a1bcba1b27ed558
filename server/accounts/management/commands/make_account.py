"""`manage.py make_account EMAIL`: a person who may log in, and a token if one is wanted."""

from __future__ import annotations

import os
from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction
from django.utils.timezone import now

from server.accounts import audit
from server.accounts.models import Membership, Scope, Team, User
from server.accounts.tokens import issue, revoke


class Command(BaseCommand):
    help = "Create an account, or bring an existing one to what is asked."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--password", help="default: CRISTA_PASSWORD from the environment")
        parser.add_argument("--name", default="", help="shown on leaderboards")
        parser.add_argument("--staff", action="store_true", help="an organiser who may do all")
        parser.add_argument("--team", metavar="NAME", help="join this team; it is made if needed")
        parser.add_argument("--baseline", action="store_true", help="the team is not ranked")
        parser.add_argument("--token", metavar="NAME", help="print a new token of this name")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        user = self.account(options)
        team = self.team(user, options["team"]) if options["team"] else user.own_team
        if options["baseline"] and not team.baseline:
            team.baseline = True
            team.save(update_fields=["baseline"])
        if options["token"]:
            for token in user.tokens.filter(name=options["token"]):
                revoke(token, by=None)
            self.stdout.write(self.token(user, options["token"]))
        elif options["verbosity"]:
            self.stdout.write(f"{user.email}, in team {team.slug}")

    def account(self, options: dict[str, Any]) -> User:
        """The person, with the password, name and rights that were asked for."""
        email = options["email"].strip().lower()
        password = options["password"] or os.environ.get("CRISTA_PASSWORD")
        user = User.objects.filter(email=email).first()
        try:
            validate_email(email)
            if password:
                validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        if user is None:
            user = User.objects.create_user(email, password, name=options["name"])
        elif password and not user.check_password(password):
            user.set_password(password)
        if options["staff"] and not user.is_staff:
            audit.record("role", email, before="is_staff False", after="is_staff True",
                         note="manage.py make_account")  # fmt: skip
        user.is_staff = user.is_superuser = user.is_staff or options["staff"]
        user.save()
        if options["name"] and user.name != options["name"]:
            user.rename(options["name"])
        # Whoever may run this command vouches for the address.
        EmailAddress.objects.update_or_create(
            user=user, email=email, defaults={"verified": True, "primary": True}
        )
        return user

    def token(self, user: User, name: str) -> str:
        """A new token that may read and submit; for an organiser, organise too."""
        scopes = Scope.values if user.is_staff else (Scope.READ, Scope.SUBMIT)
        return issue(user, name=name, scopes=scopes, days=365, at=now(), by=None)[1]

    def team(self, user: User, name: str) -> Team:
        """The team of this name that is no person's own, with the person in it."""
        team = Team.objects.filter(name=name, person=None).first()
        owner = Membership.Role.MEMBER if team else Membership.Role.OWNER
        team = team or Team.objects.create(name=name)
        Membership.objects.get_or_create(team=team, user=user, defaults={"role": owner})
        return team
