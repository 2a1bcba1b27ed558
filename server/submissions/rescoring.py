"""Re-scoring a phase: what it takes, running it beside the old board, then publishing it or not.

An edition waits as a draft.  `begin` makes a background evaluation of each scored submission under
it; what is known by digest is not computed again.  `extend`, called by the reconciler, lets later
submissions join and makes the edition ready with its report when all have ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Sum

from server import scoring
from server.accounts.models import User
from server.challenges.editions import IN_PREPARATION, State, move, replace
from server.challenges.models import Edition, Phase
from server.errors import Refused
from server.notices import outbox
from server.submissions import evaluation
from server.submissions.comparison import compare
from server.submissions.models import Evaluation, Item, ItemScore, Submission

MEASURED = 2000  # targets scored last, from which the speed of scoring is estimated
KEYS_AT_ONCE = 500
Status = Evaluation.Status


@dataclass(frozen=True, slots=True)
class Plan:
    """What re-scoring takes.  seconds: of one worker; None if nothing was ever timed.

    items: targets of all submissions.  computed: those of them whose score is not known yet.
    voxels: of the computed ones.
    """

    submissions: int
    items: int
    computed: int
    voxels: int
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far re-scoring is.

    waiting: submissions without a score under the edition yet.  broken: those of which it failed.
    items: targets of all evaluations.  scored: those that have their score; computed: those of
    them whose score was not known before.
    """

    submissions: int
    waiting: int
    broken: int
    items: int
    scored: int
    computed: int

    @property
    def complete(self) -> bool:
        """True if every scored submission has its score under the edition."""
        return not self.waiting and not self.broken

    def __str__(self) -> str:
        return f"{self.computed} of {self.items} items recomputed"

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self) | {"complete": self.complete}


def plan(edition: Edition) -> Plan:
    """What re-scoring under an edition takes, before anything is begun."""
    rules = edition.truth.rules(edition.protocol.name)
    items = {item.target: item for item in scoring.items(rules)}
    entries = list(_scored(edition.phase).values_list("pk", flat=True))
    contents = _known_contents(edition, entries)
    keys: dict[str, str] = {}
    unread = [(entry, target) for entry in entries for target in items
              if (entry, target) not in contents]  # fmt: skip
    for (_, target), content in contents.items():
        if target in items:
            key = scoring.score_key(target, content, edition.truth.digests[target], rules)
            keys[key] = target
    known = _known_keys(keys)
    todo = [target for key, target in keys.items() if key not in known]
    todo += [target for _, target in unread]
    voxels = sum(items[target].voxels for target in todo)
    pace = _pace()
    return Plan(
        submissions=len(entries), items=len(entries) * len(items), computed=len(todo),
        voxels=voxels, seconds=None if pace is None else round(pace * voxels, 1),
    )  # fmt: skip


def begin(edition: Edition, *, by: User | None = None) -> int:
    """Start what is missing under an edition; how many evaluations that was.

    Safe to repeat: what failed is tried again.  Refused: the edition was published or discarded.
    """
    if edition.state not in IN_PREPARATION:
        raise Refused(
            "not_in_preparation",
            f"Edition {edition.number} is {edition.state}. Propose a new one to score again.",
        )
    _refuse_other_rules(edition)
    if edition.state == State.DRAFT:
        move(edition, State.SCORING, by=by)
    ended = edition.evaluations.filter(status__in=(Status.FAILED, Status.CANCELLED))
    ended.update(edition=None)  # they stay in the background, where nobody is shown them
    return _start_missing(edition)


def extend() -> int:
    """Let everything that should move by itself move: called by the reconciler; rows it moved.

    Later submissions join editions in preparation, complete ones become ready, what was discarded
    stops, and submissions that ended while their phase's board was replaced catch up.
    """
    moved = 0
    for edition in Edition.objects.filter(state__in=(State.SCORING, State.READY)):
        moved += _start_missing(edition)
        moved += settle(edition)
    gone = Evaluation.objects.filter(edition__state=State.DISCARDED, status__in=Evaluation.LIVE)
    return moved + _stop(gone) + _catch_up()


def progress(edition: Edition) -> Progress:
    """How far re-scoring under an edition is."""
    entries = _scored(edition.phase)
    own = edition.evaluations.filter(submission=OuterRef("pk"))
    ended = (Status.FAILED, Status.CANCELLED)
    items = Item.objects.filter(evaluation__edition=edition)
    scored = items.filter(status=Item.Status.SCORED)
    missing = entries.filter(~Exists(own.filter(status=Status.SCORED)))
    broken = missing.filter(Exists(own.filter(status__in=ended))).count()
    return Progress(
        submissions=entries.count(), waiting=missing.count() - broken, broken=broken,
        items=items.count(), scored=scored.count(), computed=scored.filter(reused=False).count(),
    )  # fmt: skip


def settle(edition: Edition) -> bool:
    """Make an edition ready, with its report, once all have ended; True if its state changed.

    A ready one that later submissions joined waits for those.
    """
    complete = progress(edition).complete
    if edition.state == State.SCORING and complete:
        return move(edition, State.READY, diff=_report(edition))
    if edition.state == State.READY and not complete:
        return move(edition, State.SCORING, note="later submissions joined")
    return False


def publish(edition: Edition, *, by: User | None = None) -> Edition:
    """Make an edition the phase's board.  Refused: scores are missing, or it is not ready."""
    with transaction.atomic():
        Phase.objects.select_for_update().get(pk=edition.phase_id)  # one at a time
        edition.refresh_from_db()
        settle(edition)
        _refuse_unready(edition)
        diff = _report(edition)
        Edition.objects.filter(pk=edition.pk).update(diff=diff)
        replace(edition, by=by)
        edition.evaluations.filter(status=Status.SCORED).update(background=False)
        _tell(edition, diff)
    edition.refresh_from_db()
    return edition


def discard(edition: Edition, *, by: User | None = None, note: str = "") -> Edition:
    """Drop an edition that was not published; the board stays as it is.  Refused: it was."""
    if edition.state not in IN_PREPARATION or not move(edition, State.DISCARDED, by=by, note=note):
        raise Refused(
            "not_in_preparation",
            f"Edition {edition.number} is {edition.state}: only one that is not yet published can "
            "be discarded. To go back to an older board, propose its truth and protocol again.",
        )
    _stop(edition.evaluations.filter(status__in=Evaluation.LIVE))
    return edition


def _scored(phase: Phase) -> QuerySet[Submission]:
    """What a board under another truth must have a score for."""
    return phase.submissions.filter(status=Submission.Status.SCORED).order_by("pk")


def _known_contents(edition: Edition, entries: list[int]) -> dict[tuple[int, str], str]:
    """What each submission holds for a target, by digest, where it was read for these rules."""
    rows = Item.objects.filter(
        evaluation__submission__in=entries, evaluation__protocol=edition.protocol,
        evaluation__evaluator=scoring.version(), target__in=edition.truth.digests,
    ).exclude(content="")  # fmt: skip
    truths = edition.phase.challenge.truths.all()
    name = edition.protocol.name
    rules = {truth.pk: truth.rules(name) for truth in truths}

    @cache
    def same(truth: int, target: str) -> bool:
        """True if a target is read in the same way beside both truths."""
        old, new = (scoring.ingest_key(target, rules[key]) for key in (truth, edition.truth_id))
        return old == new

    fields = ("evaluation__submission", "target", "content", "evaluation__truth")
    return {
        (entry, target): content
        for entry, target, content, truth in rows.values_list(*fields).iterator()
        if same(truth, target)
    }


def _known_keys(keys: Iterable[str]) -> set[str]:
    """Those of these keys whose score is known."""
    wanted, known = list(keys), set()
    for start in range(0, len(wanted), KEYS_AT_ONCE):
        part = wanted[start : start + KEYS_AT_ONCE]
        known |= set(ItemScore.objects.filter(key__in=part).values_list("key", flat=True))
    return known


def _pace() -> float | None:
    """Seconds that one voxel takes, from the targets computed last; None if there were none."""
    timed = Item.objects.filter(reused=False, seconds__isnull=False, voxels__gt=0)
    last = timed.order_by("-pk").values("pk")[:MEASURED]
    sums = Item.objects.filter(pk__in=list(last.values_list("pk", flat=True)))
    found = sums.aggregate(seconds=Sum("seconds"), voxels=Sum("voxels"))
    return found["seconds"] / found["voxels"] if found["voxels"] else None


def _start_missing(edition: Edition) -> int:
    """A background evaluation for each scored submission that has none under the edition."""
    has_one = edition.evaluations.filter(submission=OuterRef("pk"))
    missing = _scored(edition.phase).filter(~Exists(has_one)).values_list("pk", flat=True)
    return sum(_start_one(edition, key) for key in list(missing))


@transaction.atomic
def _start_one(edition: Edition, key: int) -> bool:
    """False: the edition was discarded meanwhile, or another process was faster."""
    held = Edition.objects.select_for_update().filter(pk=edition.pk)  # two at once: one waits
    if not held.filter(state__in=(State.SCORING, State.READY)).exists():
        return False
    if edition.evaluations.filter(submission=key).exists():
        return False
    submission = Submission.objects.select_related("upload", "team", "phase").get(pk=key)
    evaluation.start(
        submission, truth=edition.truth, protocol=edition.protocol, background=True, edition=edition
    )
    return True


def _catch_up() -> int:
    """Score what ended under the old truth while the phase's board was replaced."""
    present = Evaluation.objects.filter(
        submission=OuterRef("pk"), background=False, truth=OuterRef("phase__truth"),
        protocol=OuterRef("phase__protocol"),
    )  # fmt: skip
    late = Submission.objects.filter(~Exists(present), status=Submission.Status.SCORED)
    late = late.select_related("upload", "team", "phase__truth", "phase__protocol")
    for submission in late:
        phase = submission.phase
        evaluation.start(submission, truth=phase.truth, protocol=phase.protocol, background=False)
    return len(late)


def _stop(rows: QuerySet[Evaluation]) -> int:
    """Cancel evaluations; workers that come later find nothing to do."""
    return sum(evaluation.end(row, to=Status.CANCELLED) for row in rows)


def _report(edition: Edition) -> dict[str, Any]:
    return compare(edition) | {"progress": progress(edition).to_json()}


def _refuse_other_rules(edition: Edition) -> None:
    name = edition.protocol.name
    if name in scoring.protocols() and scoring.protocol_rules(name)[1] == edition.protocol.digest:
        return
    raise Refused(
        "other_rules",
        f"The installed evaluator has other rules for {name} than this edition. Install the one "
        f"that first had them ({edition.protocol.evaluator}), or propose its present rules.",
    )


def _refuse_unready(edition: Edition) -> None:
    found = progress(edition)
    if edition.state == State.READY and found.complete:
        return
    if edition.state not in (State.SCORING, State.READY):
        sentence = f"it is {edition.state}. Re-score it first."
    elif found.broken:
        sentence = (
            f"{found.broken} of {found.submissions} submissions could not be scored under it. "
            "See what failed in the admin, mend it, and run the re-scoring again."
        )
    else:
        sentence = f"{found.waiting} of {found.submissions} submissions wait for their score."
    raise Refused("not_ready", f"Edition {edition.number} cannot be published yet: {sentence}")


def _tell(edition: Edition, diff: dict[str, Any]) -> None:
    """A notice to each team on the board; no score is in it, since a phase may hide them."""
    phase = edition.phase
    path = f"/challenges/{phase.challenge.slug}/{phase.slug}/editions/{edition.number}/"
    for team in _teams(diff):
        outbox.tell(
            "rescored", team=team, path=path, once=f"rescored-{edition.pk}-{team.pk}",
            subject=f"{phase}: the board was made anew",
            text=f"The organisers scored all submissions to {phase} again, under truth version "
            f"{edition.truth.number} and protocol {edition.protocol}. Your scores and your place "
            "may have changed; the older board stays readable.",
            facts={"challenge": phase.challenge.slug, "phase": phase.slug,
                   "edition": edition.number},
        )  # fmt: skip


def _teams(diff: dict[str, Any]) -> Iterator[Any]:
    """The teams of both boards."""
    keys = {key for row in diff["rows"] for key in row["submission"] if key}
    rows = Submission.objects.filter(pk__in=keys).select_related("team")
    yield from {row.team_id: row.team for row in rows}.values()
