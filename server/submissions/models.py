"""What happened to a participant's bytes: upload, submission, evaluation, item scores.

Upload      open → verifying → finished | expired
Submission  received → checking → queued → scoring → scored
            rejected (participant), failed (system or organiser), cancelled
Evaluation  queued → scoring → scored | failed | cancelled      re-scoring makes a new row
Item        queued → scoring → scored | failed | quarantined | cancelled   one per target
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils.timezone import now

from server.accounts.models import Team, User
from server.challenges.models import Edition, Phase, ProtocolVersion, TruthVersion
from server.challenges.sight import Sight
from server.submissions.staged import Staged


class Upload(Staged):
    """Bytes in parts.  What is stored is what was received: no count of it is kept here.

    sha256: what the participant says it will be (may be empty), and once finished what it is.
    received: its SHA-256 if one process received it all, else empty.
    verified: bytes read again for the digest; attempts: how often that was begun.  trouble: why the
    bytes were removed, for the team.  multipart, part_size: only of an upload into a bucket.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        VERIFYING = "verifying"
        FINISHED = "finished"
        EXPIRED = "expired"

    STEPS = {
        Status.OPEN: frozenset({Status.VERIFYING, Status.EXPIRED}),
        Status.VERIFYING: frozenset({Status.FINISHED, Status.EXPIRED}),
        Status.FINISHED: frozenset({Status.EXPIRED}),  # only if nobody submits it
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="uploads")
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="uploads")
    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, related_name="uploads")
    filename = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64, blank=True)
    received = models.CharField(max_length=64, blank=True, editable=False)
    verified = models.PositiveBigIntegerField(default=0, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    trouble = models.TextField(blank=True, editable=False)
    multipart = models.TextField(blank=True, editable=False)
    part_size = models.PositiveBigIntegerField(default=0, editable=False)
    created = models.DateTimeField(default=now, editable=False)
    expires = models.DateTimeField()

    class Meta:
        ordering = ("-created",)

    def __str__(self) -> str:
        return f"{self.filename} ({self.status})"

    @property
    def path(self) -> Path:
        """Where its bytes lie on this machine; `storage.local` knows of buckets, too."""
        return Path(settings.UPLOAD_DIR) / f"{self.id}.zip"

    @property
    def offset(self) -> int:
        """Bytes in its file on this machine; `storage.offset` knows of buckets, too."""
        return self.path.stat().st_size if self.path.exists() else 0


class Blame(models.TextChoices):
    """Whose move it is when a submission ends without a score."""

    NOBODY = "", "nobody"
    PARTICIPANT = "participant"
    ORGANISER = "organiser"
    SYSTEM = "system"


_PRESENT = models.Q(
    truth=models.F("submission__phase__truth"), protocol=models.F("submission__phase__protocol")
)


class Submissions(models.QuerySet["Submission"]):
    """Submissions, and who may know of them."""

    def of(self, viewer: Any) -> Submissions:
        """Those of one's own teams; all for an organiser; none for a visitor."""
        rows = self.select_related("team", "phase__challenge", "upload")
        if not viewer.is_authenticated:
            return rows.none()
        return rows if viewer.is_staff else rows.filter(team__memberships__user=viewer)

    def with_progress(self) -> Submissions:
        """Each with `items_done` and `items_total` of its evaluation; 0 before that."""
        shown = Evaluation.objects.filter(submission=models.OuterRef("pk"), background=False)
        shown = shown.order_by(models.Case(models.When(_PRESENT, then=0), default=1), "-pk")
        items = Item.objects.filter(evaluation=models.OuterRef("shown")).order_by()
        done = models.Q(status=Item.Status.SCORED)
        rows = self.annotate(shown=models.Subquery(shown.values("pk")[:1]))
        light = Evaluation.objects.defer("result", "labels", "timings")  # a list shows none of them
        return rows.annotate(
            items_done=_count(items.filter(done)), items_total=_count(items)
        ).prefetch_related(models.Prefetch("evaluations", light))


def _count(items: models.QuerySet[Item]) -> Coalesce:
    """How many of these rows belong to each row outside, in the same query."""
    number = items.values("evaluation").annotate(number=models.Count("pk")).values("number")
    return Coalesce(models.Subquery(number), 0)


class Submission(Staged):
    """An upload entered under a method's name.

    checks: how often its check was begun.  lease: a check without a sign of life until then died.
    chosen: its team wants it on the board of a phase that lets them choose.
    disqualified: why organisers took it off the board; empty for all others.
    """

    class Status(models.TextChoices):
        RECEIVED = "received"
        CHECKING = "checking"
        QUEUED = "queued"
        SCORING = "scoring"
        SCORED = "scored"
        REJECTED = "rejected"
        FAILED = "failed"
        CANCELLED = "cancelled"

    LIVE: ClassVar = (Status.RECEIVED, Status.CHECKING, Status.QUEUED, Status.SCORING)
    STEPS = {
        Status.RECEIVED: frozenset({Status.CHECKING, Status.FAILED, Status.CANCELLED}),
        Status.CHECKING: frozenset({
            Status.QUEUED, Status.REJECTED, Status.FAILED, Status.CANCELLED, Status.RECEIVED,
        }),
        Status.QUEUED: frozenset({Status.SCORING, Status.FAILED, Status.CANCELLED}),
        Status.SCORING: frozenset({Status.SCORED, Status.FAILED, Status.CANCELLED}),
        # An organiser tries again.
        Status.FAILED: frozenset({Status.SCORING, Status.SCORED, Status.RECEIVED}),
    }  # fmt: skip
    NEXT_STEP: ClassVar = {
        Status.RECEIVED: "Wait: the check begins in a moment.",
        Status.CHECKING: "Wait: the check takes seconds.",
        Status.QUEUED: "Wait: scoring begins when a worker is free.",
        Status.SCORING: "Wait: scores appear label by label.",
        Status.SCORED: "Look at the scores, and at the leaderboard.",
        Status.REJECTED: "Mend what the report names, and submit again: no quota was used.",
        Status.FAILED: "Nothing is wrong with your file and no quota was used. "
        "Submit again, or give the organisers the incident's number.",
        Status.CANCELLED: "Submit again whenever you like.",
    }
    ORGANISERS_STEP = (
        "Wait: the organisers were told, and can have it scored again without another upload. No "
        "quota was used."
    )

    upload = models.OneToOneField(Upload, on_delete=models.PROTECT, related_name="submission")
    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, related_name="submissions")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="submissions")
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="submissions")
    method = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    message = models.TextField(blank=True, editable=False)
    blame = models.CharField(max_length=12, choices=Blame, blank=True, editable=False)
    incident = models.CharField(max_length=12, blank=True, editable=False)
    report = models.JSONField(null=True, editable=False)
    quota_used = models.BooleanField(default=True, editable=False)
    checks = models.PositiveSmallIntegerField(default=0, editable=False)
    lease = models.DateTimeField(null=True, editable=False)
    chosen = models.BooleanField(default=False, editable=False)
    disqualified = models.TextField(blank=True, editable=False)
    created = models.DateTimeField(default=now, editable=False)

    objects = Submissions.as_manager()

    class Meta:
        ordering = ("-created",)
        indexes: ClassVar = [models.Index(fields=["phase", "team", "created"])]

    def __str__(self) -> str:
        return f"{self.method} by {self.team}"

    def get_absolute_url(self) -> str:
        """Its page."""
        return reverse("submission", args=[self.pk])

    @property
    def next_step(self) -> str:
        """What its team does now."""
        if self.status == self.Status.FAILED and self.blame == Blame.ORGANISER:
            return self.ORGANISERS_STEP
        return self.NEXT_STEP[self.Status(self.status)]

    @property
    def is_live(self) -> bool:
        """True until it has ended, one way or another."""
        return self.status in self.LIVE

    @property
    def evaluation(self) -> Evaluation | None:
        """The newest of its phase's present edition, else the newest; None before its acceptance.

        One of an edition in preparation is nobody's to see.  A prefetch of `evaluations` serves it.
        """
        rows = [row for row in self.evaluations.all() if not row.background]
        pair = (self.phase.truth_id, self.phase.protocol_id)
        present = (row for row in rows if (row.truth_id, row.protocol_id) == pair)
        return next(present, next(iter(rows), None))

    def sight(self, viewer: Any) -> Sight:
        """What a viewer may see of it, by the phase's rule."""
        signed_in = viewer.is_authenticated
        own = signed_in and self.team.memberships.filter(user=viewer).exists()
        return self.phase.sight(viewer, own=own)


class Evaluation(Staged):
    """The scoring of a submission under one truth version and one protocol.

    labels: {label: {"kind", "score", …}} as in the result.  result: its canonical JSON text, which
    `evaluator score` prints too.  timings: seconds per target, kept beside it.
    background: it is of an edition in preparation, waits for all others, and nobody is shown it.
    edition: the one it was made for by re-scoring; None for the first scoring of a submission.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        SCORING = "scoring"
        SCORED = "scored"
        FAILED = "failed"
        CANCELLED = "cancelled"

    LIVE: ClassVar = (Status.QUEUED, Status.SCORING)
    STEPS = {
        Status.QUEUED: frozenset({Status.SCORING, Status.FAILED, Status.CANCELLED}),
        Status.SCORING: frozenset({Status.SCORED, Status.FAILED, Status.CANCELLED}),
        Status.FAILED: frozenset({Status.SCORING}),  # an organiser tries again
    }

    submission = models.ForeignKey(Submission, on_delete=models.CASCADE, related_name="evaluations")
    truth = models.ForeignKey(TruthVersion, on_delete=models.PROTECT, related_name="evaluations")
    protocol = models.ForeignKey(
        ProtocolVersion, on_delete=models.PROTECT, related_name="evaluations"
    )
    edition = models.ForeignKey(
        Edition, null=True, editable=False, on_delete=models.SET_NULL, related_name="evaluations"
    )
    evaluator = models.CharField(max_length=40)
    background = models.BooleanField(default=False, editable=False)
    created = models.DateTimeField(default=now, editable=False)
    finished = models.DateTimeField(null=True, editable=False)
    overall = models.FloatField(null=True, editable=False)
    instance = models.FloatField(null=True, editable=False)
    semantic = models.FloatField(null=True, editable=False)
    labels = models.JSONField(default=dict, editable=False)
    result = models.TextField(blank=True, editable=False)
    timings = models.JSONField(default=dict, editable=False)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"evaluation {self.pk} of {self.submission}"

    @property
    def result_digest(self) -> str:
        """SHA-256 of the result, which `evaluator score` prints too; "" before there is one."""
        return hashlib.sha256(self.result.encode()).hexdigest() if self.result else ""


class ItemScore(models.Model):
    """The score of one target for one content, computed once and never changed.

    key: SHA-256 of all that it depends on: content of the prediction, truth and grid of the
    target, protocol, evaluator (`scoring.score_key`).  score: `TargetScore` as JSON.  It belongs to
    no evaluation: whoever has the key may use it, and what is deleted is computed again.
    """

    key = models.CharField(max_length=64, unique=True)
    target = models.CharField(max_length=210)
    content = models.CharField(max_length=64)
    truth_digest = models.CharField(max_length=64)
    protocol = models.ForeignKey(ProtocolVersion, on_delete=models.PROTECT, related_name="+")
    evaluator = models.CharField(max_length=40)
    score = models.JSONField()
    seconds = models.FloatField()
    created = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.target}, {self.key[:12]}…"


class Item(models.Model):
    """One target of an evaluation.  A row in `scoring` is held by a worker until `lease` passes.

    team, queue, background, place: whose it is, which workers take it, and when it is its turn.
    score: its `TargetScore` as JSON, null until scored.  A copy, not a reference: an `ItemScore` is
    found only by the evaluator that made it and may be deleted, an evaluation keeps its scores.
    reused: the score was known already.
    attempts: how often it was begun.  deaths: how often the process that worked on it died.
    begun: when it was taken last.  due: nobody takes it before then.
    trouble: what went wrong last, for organisers.  blame: whose move it is if that was the end.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        SCORING = "scoring"
        SCORED = "scored"
        QUARANTINED = "quarantined"
        CANCELLED = "cancelled"
        FAILED = "failed"

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="items")
    team = models.ForeignKey(Team, null=True, on_delete=models.CASCADE, related_name="+")
    target = models.CharField(max_length=210)
    crop = models.CharField(max_length=104)
    label = models.CharField(max_length=100)
    voxels = models.PositiveBigIntegerField()
    queue = models.CharField(max_length=20, default="score")
    background = models.BooleanField(default=False)
    place = models.PositiveIntegerField(default=0)
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    score = models.JSONField(null=True)
    content = models.CharField(max_length=64, blank=True)
    reused = models.BooleanField(default=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    deaths = models.PositiveSmallIntegerField(default=0)
    trouble = models.TextField(blank=True)
    blame = models.CharField(max_length=12, choices=Blame, blank=True)
    worker = models.CharField(max_length=120, blank=True)
    begun = models.DateTimeField(null=True)
    due = models.DateTimeField(null=True)
    changed = models.DateTimeField(default=now)
    lease = models.DateTimeField(null=True)
    seconds = models.FloatField(null=True)

    class Meta:
        ordering = ("evaluation", "place", "voxels", "target")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["evaluation", "target"], name="once_per_target")
        ]
        indexes: ClassVar = [
            models.Index(fields=["status", "lease"]),
            models.Index(fields=["status", "queue", "background", "team", "place"]),
        ]

    def __str__(self) -> str:
        return f"{self.target} of {self.evaluation_id}"


class Grant(models.Model):
    """Submissions that organisers give a team beyond a phase's limits, with the reason.

    extra: added to the limit while the grant lasts.  expires: None, as long as the phase.
    """

    class What(models.TextChoices):
        PER_DAY = "per_day", "scored in 24 hours"
        TOTAL = "total", "scored in all"
        ATTEMPTS = "attempts_per_day", "attempts in 24 hours"

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="grants")
    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, related_name="grants")
    what = models.CharField(max_length=20, choices=What)
    extra = models.PositiveIntegerField()
    reason = models.TextField()
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created = models.DateTimeField(default=now, editable=False)
    expires = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created",)

    def __str__(self) -> str:
        return f"{self.extra} more {self.get_what_display()} for {self.team}"

    def lasts(self, at: datetime) -> bool:
        """True from when it was made until just before it expires."""
        return self.created <= at and (self.expires is None or at < self.expires)
