"""Competitions, their stages, and the states of the truth they are scored under."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.utils.timezone import now

from server import scoring
from server.challenges.sight import EVERYTHING, NOTHING, Sight
from server.errors import Refused
from server.moments import in_words


class Challenge(models.Model):
    """A competition.  overview and rules are Markdown.

    protocol: the name that its bundle asks for, which new phases begin under.  `Phase.protocol` is
    the state of a protocol that a board was made under: re-scoring may have published another one.
    """

    slug = models.SlugField(max_length=60, unique=True)
    title = models.CharField(max_length=120)
    summary = models.CharField(max_length=400, blank=True)
    overview = models.TextField(blank=True)
    rules = models.TextField(blank=True)
    protocol = models.CharField(max_length=40)
    created = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ("title",)

    def __str__(self) -> str:
        return self.title


class TruthVersion(models.Model):
    """One immutable state of the truth: what is scored (manifest), and against what (arrays).

    digest: SHA-256 of `digests`, which holds the digest of each target's array.
    fingerprint: names, sizes and times of the files it was read from, to see whether they changed.
    """

    challenge = models.ForeignKey(Challenge, on_delete=models.CASCADE, related_name="truths")
    number = models.PositiveIntegerField()
    manifest_csv = models.TextField()
    labels_toml = models.TextField()
    manifest_digest = models.CharField(max_length=64)
    labels = models.JSONField(help_text='[{"name", "kind"}, …], sorted by name')
    path = models.CharField(max_length=500)
    digest = models.CharField(max_length=64)
    digests = models.JSONField()
    fingerprint = models.CharField(max_length=64)
    note = models.TextField(blank=True)
    created = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ("challenge", "-number")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["challenge", "number"], name="truth_number")
        ]

    def __str__(self) -> str:
        return f"{self.challenge.slug}, truth {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store a new version.  Raises TypeError for a change of anything that scores rest on."""
        if not self._state.adding and kwargs.get("update_fields") != ["fingerprint"]:
            raise TypeError("a truth version never changes: load the new truth as another version")
        super().save(*args, **kwargs)

    def rules(self, protocol: str) -> scoring.Rules:
        """What a score under this truth and the protocol of this name is made of."""
        return scoring.Rules(self.manifest_csv, self.labels_toml, protocol, Path(self.path))


class ProtocolVersion(models.Model):
    """One immutable state of a protocol: its name, its rules and their digest."""

    name = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)
    rules = models.JSONField()
    evaluator = models.CharField(max_length=40, help_text="The evaluator that first had it.")
    created = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ("name", "-pk")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name", "digest"], name="protocol_state")
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store a new version.  Raises TypeError for a change."""
        if not self._state.adding:
            raise TypeError("a protocol version never changes: its rules make another version")
        super().save(*args, **kwargs)

    @classmethod
    def present(cls, name: str) -> ProtocolVersion:
        """The row of a protocol as the installed evaluator has it; made when first asked for."""
        rules, digest = scoring.protocol_rules(name)
        row, _ = cls.objects.get_or_create(
            name=name, digest=digest,
            defaults={"rules": rules, "evaluator": scoring.version()},
        )  # fmt: skip
        return row


class Visibility(models.TextChoices):
    """Who sees what of a phase.  `Phase.sight` alone says what each word means."""

    FULL = "full", "scores are public"
    RANKS = "ranks", "ranks are public, scores one's own"
    OWN = "own", "each team sees itself only"
    STAFF = "staff", "organisers only"


class Selection(models.TextChoices):
    """Which of a team's scored submissions stands on the board."""

    BEST = "best", "the best"
    LAST = "last", "the last"
    CHOSEN = "chosen", "the one the team chose"


class Detail(models.TextChoices):
    """How finely a participant sees their own scores where the phase is not `full`."""

    OVERALL = "overall", "the overall score"
    LABEL = "label", "a score per label"
    TARGET = "target", "a score per target"


class Phase(models.Model):
    """A stage of a challenge, with its dates and limits; 0 is no limit.

    truth, protocol: what its present board is made under (`Edition` holds the earlier ones).
    per_day, total: submissions that are scored, in 24 hours and in all.  attempts_per_day: those
    that are rejected, too.  embargo: until then organisers alone see scores.  merge_until: teams
    may merge until then (None: until it closes).
    """

    challenge = models.ForeignKey(Challenge, on_delete=models.CASCADE, related_name="phases")
    truth = models.ForeignKey(TruthVersion, on_delete=models.PROTECT, related_name="phases")
    protocol = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="phases")
    slug = models.SlugField(max_length=60)
    title = models.CharField(max_length=120)
    position = models.PositiveSmallIntegerField(default=0)
    opens = models.DateTimeField()
    closes = models.DateTimeField()
    visibility = models.CharField(max_length=10, choices=Visibility, default=Visibility.FULL)
    embargo = models.DateTimeField(null=True, blank=True)
    selection = models.CharField(max_length=10, choices=Selection, default=Selection.BEST)
    detail = models.CharField(max_length=10, choices=Detail, default=Detail.LABEL)
    digits = models.PositiveSmallIntegerField(default=3)
    per_day = models.PositiveIntegerField(default=5)
    total = models.PositiveIntegerField(default=0)
    attempts_per_day = models.PositiveIntegerField(default=20)
    merge_until = models.DateTimeField(null=True, blank=True)
    max_bytes = models.PositiveBigIntegerField(default=20 * 2**30)
    concurrent = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ("challenge", "position", "opens")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["challenge", "slug"], name="phase_slug"),
            models.CheckConstraint(condition=models.Q(opens__lt=models.F("closes")),
                                   name="opens_before_it_closes"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.challenge}: {self.title}"

    @transaction.atomic
    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store; a new phase gets its first edition, published, in the same transaction."""
        new = self._state.adding
        super().save(*args, **kwargs)
        if new:
            Edition.objects.create(
                phase=self, number=1, truth=self.truth, protocol=self.protocol,
                state=Edition.State.PUBLISHED, published=now(),
            )  # fmt: skip

    def is_open(self, at: datetime) -> bool:
        """True from `opens` until just before `closes`."""
        return self.opens <= at < self.closes

    def refuse_unless_open(self, at: datetime) -> None:
        """Refused, with the date that matters, outside the phase."""
        if at < self.opens:
            raise Refused(
                "phase_not_begun",
                f"{self.title} has not begun: it opens on {in_words(self.opens)}. Come back then.",
            )
        if at >= self.closes:
            raise Refused(
                "phase_closed",
                f"{self.title} closed on {in_words(self.closes)}: nothing more can be submitted to "
                "it. See the challenge's page for a phase that is open.",
            )

    def sight(self, viewer: Any, *, own: bool, at: datetime | None = None) -> Sight:
        """What a viewer may see at a moment (None: now).  own: the entry is of a team of theirs.

        Exact numbers per crop are an oracle on hidden truth: outside `full` phases even the
        owners see no more than `detail` and `digits` say.  Before the embargo ends they see what
        they would of a `staff` phase.
        """
        if viewer.is_authenticated and viewer.is_staff:
            return EVERYTHING
        if self.embargo and (at or now()) < self.embargo:
            return NOTHING
        labels, targets = self.detail != Detail.OVERALL, self.detail == Detail.TARGET
        match self.visibility:
            case Visibility.FULL:
                return Sight(entry=True, scores=True, result=own, targets=own)
            case Visibility.RANKS:
                return Sight(entry=True, scores=own, result=False, labels=labels,
                             targets=own and targets, digits=self.digits)  # fmt: skip
            case Visibility.OWN:
                return Sight(entry=own, scores=own, result=False, labels=labels,
                             targets=own and targets, digits=self.digits)  # fmt: skip
        return NOTHING


class Edition(models.Model):
    """A phase's board under one truth version and one protocol version.

    draft → scoring → ready → published → replaced, or discarded before it was published.
    One edition of a phase is published at a time: the one `Phase.truth` and `Phase.protocol` name.
    diff: what publishing changes against the one before it, once ready.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        SCORING = "scoring"
        READY = "ready"
        PUBLISHED = "published"
        REPLACED = "replaced"
        DISCARDED = "discarded"

    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, related_name="editions")
    number = models.PositiveIntegerField()
    truth = models.ForeignKey(TruthVersion, on_delete=models.PROTECT, related_name="+")
    protocol = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT, editable=False)
    note = models.TextField(blank=True)
    diff = models.JSONField(null=True, editable=False)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    created = models.DateTimeField(default=now, editable=False)
    published = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("phase", "-number")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["phase", "number"], name="edition_number"),
            models.UniqueConstraint(
                fields=["phase"], condition=models.Q(state="published"), name="one_published"
            ),
            models.UniqueConstraint(
                fields=["phase"], condition=models.Q(state__in=("draft", "scoring", "ready")),
                name="one_in_preparation",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.phase}, edition {self.number}"
