"""People, the teams they submit for, the tokens of their scripts, and who did what."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models, transaction
from django.utils.crypto import get_random_string
from django.utils.text import slugify
from django.utils.timezone import now


class UserManager(BaseUserManager["User"]):
    """People are found by e-mail, however it is capitalised."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """A person who may log in; their team of one comes with them."""
        user = self.model(email=email.strip().lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """An organiser who may do everything."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, email: str | None) -> User:
        """Used by every log-in."""
        return self.get(email=(email or "").strip().lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person.  Staff are organisers."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=80, blank=True)
    is_staff = models.BooleanField("organiser", default=False)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.name or self.email

    @transaction.atomic
    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store; a new person becomes a team of one in the same transaction."""
        new = self._state.adding
        self.email = self.email.lower()
        self.name = self.name or self.email.partition("@")[0]
        super().save(*args, **kwargs)
        if new:
            team = Team.objects.create(name=self.name, person=self)
            Membership.objects.create(team=team, user=self, role=Membership.Role.OWNER)

    def rename(self, name: str) -> None:
        """Take another name, on one's own team too."""
        self.name = name
        self.save(update_fields=["name"])
        Team.objects.filter(person=self).update(name=name)


class TeamManager(models.Manager["Team"]):
    """Teams, and whose they are."""

    def of(self, user: User) -> models.QuerySet[Team]:
        """The teams a person belongs to, their own first; none for a visitor."""
        if not user.is_authenticated:
            return self.none()
        own_first = models.Case(models.When(person=user, then=0), default=1)
        return self.filter(members=user).order_by(own_first, "name")


def _invitation_key() -> str:
    return get_random_string(16)


class Team(models.Model):
    """Owns quota and leaderboard row.  `person`: whose team of one it is, if it is one.

    merged_into: the team that took over its members and submissions.
    invitation_key: part of its invitation links; a new one ends the old links.
    served: when a worker last took a target of theirs, for fair turns.
    """

    slug = models.SlugField(max_length=60, unique=True, editable=False)
    name = models.CharField(max_length=80)
    person = models.OneToOneField(
        User, null=True, blank=True, on_delete=models.CASCADE, related_name="own_team"
    )
    members: models.ManyToManyField[User, Membership] = models.ManyToManyField(
        User, through="Membership", related_name="teams"
    )
    baseline = models.BooleanField(
        default=False, help_text="A reference entry by the organisers: on the board, not ranked."
    )
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, editable=False, on_delete=models.SET_NULL,
        related_name="merged",
    )  # fmt: skip
    invitation_key = models.CharField(max_length=16, default=_invitation_key, editable=False)
    served = models.DateTimeField(null=True, editable=False)
    created = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[TeamManager] = TeamManager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store; a new team gets a slug nobody else has, which never changes afterwards."""
        self.slug = self.slug or free_slug(self.name)
        super().save(*args, **kwargs)


RESERVED = ("join", "merge")  # words of addresses below /teams/


def free_slug(name: str) -> str:
    """A slug for a team of this name: the name itself, or the name and five letters if taken."""
    slug = slugify(name)[:50] or "team"
    while slug in RESERVED or Team.objects.filter(slug=slug).exists():
        slug = f"{slugify(name)[:50] or 'team'}-{get_random_string(5).lower()}"
    return slug


class Membership(models.Model):
    """One person in one team.  Owners rename it, let others in, remove them, and merge it."""

    class Role(models.TextChoices):
        OWNER = "owner"
        MEMBER = "member"

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role, default=Role.MEMBER)
    joined = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["team", "user"], name="once_per_team")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"


class Scope(models.TextChoices):
    """What a token may do."""

    READ = "read"
    SUBMIT = "submit"
    ORGANISE = "organise"


class Token(models.Model):
    """A key for scripts.  Only its SHA-256 is kept: the text is shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(default=list)
    created = models.DateTimeField(default=now, editable=False)
    expires = models.DateTimeField()
    last_used = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-created",)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @classmethod
    def issue(
        cls, user: User, *, name: str, scopes: tuple[str, ...] = (Scope.READ, Scope.SUBMIT),
        now: datetime, days: int = 365,
    ) -> tuple[Token, str]:  # fmt: skip
        """A new token and its text, `crista_…`, which is not kept."""
        text = f"crista_{secrets.token_urlsafe(32)}"
        token = cls.objects.create(
            user=user, name=name, prefix=text[:12], digest=cls.digest_of(text),
            scopes=list(scopes), created=now, expires=now + timedelta(days=days),
        )  # fmt: skip
        return token, text

    @staticmethod
    def digest_of(text: str) -> str:
        """What is stored for a token's text.  256 random bits need no salt and no slow hash."""
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def allows(self, scope: str) -> bool:
        """True if the token carries a scope."""
        return scope in self.scopes


class Events(models.QuerySet["AuditEvent"]):
    """Rows that are added, and never changed or removed."""

    def update(self, **fields: Any) -> int:
        """Raises TypeError: what happened cannot be changed."""
        raise TypeError(ONLY_ADDED)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Raises TypeError: what happened cannot be undone."""
        raise TypeError(ONLY_ADDED)


ONLY_ADDED = "the record of what happened is only added to"


class AuditEvent(models.Model):
    """Who changed what, from what, to what.  Written beside each change, never edited.

    actor_name: the actor's e-mail at the time, which stays when the account goes.
    number, digest: its place in the chain and the chain's digest up to it, once it is sealed.
    """

    at = models.DateTimeField(default=now, db_index=True)
    actor = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, help_text="Nobody: the system itself."
    )
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=80)
    before = models.TextField(blank=True)
    after = models.TextField()
    note = models.TextField(blank=True)
    actor_name = models.CharField(max_length=254, blank=True, editable=False)
    number = models.PositiveBigIntegerField(null=True, unique=True, editable=False)
    digest = models.CharField(max_length=64, blank=True, editable=False)

    objects: ClassVar[models.Manager[AuditEvent]] = Events.as_manager()

    class Meta:
        ordering = ("-at", "-id")
        indexes: ClassVar = [models.Index(fields=["kind", "key"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: {self.before} → {self.after}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store a new event.  Raises TypeError for a change."""
        if not self._state.adding:
            raise TypeError(ONLY_ADDED)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Raises TypeError: what happened cannot be undone."""
        raise TypeError(ONLY_ADDED)


class Answered(models.Model):
    """The answer to a request with an `Idempotency-Key`, given again when it is repeated.

    asked: SHA-256 of method, path and body.  status: 0 while the first request is under way.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    asked = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.JSONField(null=True)
    created = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="once_per_key")
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.user}"
