"""Chapter two: a row per target; whoever writes the last score pools them all.

The rows decide, not the messages: work may be done twice, late, or beside itself.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.timezone import now

from server import queue, scoring, stages
from server.accounts import audit
from server.accounts.models import User
from server.challenges.models import Edition, ProtocolVersion, TruthVersion
from server.errors import Refused
from server.notices import outbox
from server.submissions import turns
from server.submissions.models import Blame, Evaluation, Item, Submission

Status = Evaluation.Status
ItemStatus = Item.Status
BAD = (ItemStatus.QUARANTINED, ItemStatus.FAILED)
NAMED = 5  # targets that a message names; more are counted

log = structlog.get_logger(__name__)


def rules(evaluation: Evaluation) -> scoring.Rules:
    """The rules of one evaluation."""
    return evaluation.truth.rules(evaluation.protocol.name)


def loaded(key: int) -> Evaluation:
    """An evaluation with all that scoring asks of it."""
    rows = Evaluation.objects.select_related(
        "truth", "protocol", "submission__upload", "submission__phase__challenge",
        "submission__team",
    )  # fmt: skip
    return rows.get(pk=key)


@transaction.atomic
def accept(submission: Submission, *, report: dict[str, Any]) -> Evaluation | None:
    """A checked submission waits to be scored under its phase's truth and protocol.

    None if it was cancelled meanwhile.
    """
    phase = submission.phase
    message = "" if not report["problems"] else "Accepted, with remarks in the report."
    if not submission.advance(Submission.Status.QUEUED, report=report, message=message):
        return None
    return start(submission, truth=phase.truth, protocol=phase.protocol)


@transaction.atomic
def start(
    submission: Submission, *, truth: TruthVersion, protocol: ProtocolVersion,
    background: bool = False, edition: Edition | None = None,
) -> Evaluation:  # fmt: skip
    """An evaluation with a row per target, and messages that something waits.

    background: it waits for everything that is not, and its end moves no submission.
    """
    evaluation = Evaluation.objects.create(
        submission=submission, truth=truth, protocol=protocol, evaluator=scoring.version(),
        status=Status.QUEUED, background=background, edition=edition,
    )  # fmt: skip
    order = turns.places(scoring.items(rules(evaluation)))
    Item.objects.bulk_create(
        Item(
            evaluation=evaluation, team_id=submission.team_id, target=item.target, crop=item.crop,
            label=item.label, voxels=item.voxels, queue=queue_for(item.voxels),
            background=background, place=place,
        )
        for place, item in enumerate(order)
    )  # fmt: skip
    turns.top_up()
    return evaluation


def queue_for(voxels: int) -> str:
    """The queue of a target of this size: what needs much memory has workers of its own."""
    large = stages.limits_for(voxels).memory > settings.LARGE_ITEM_BYTES
    return queue.SCORE_LARGE if large else queue.SCORE


def begin(evaluation: Evaluation) -> None:
    """The first target that is taken moves the evaluation, and the submission with it."""
    if evaluation.status == Status.QUEUED:
        with transaction.atomic():
            submission = evaluation.submission
            if evaluation.advance(Status.SCORING) and _is(submission, Submission.Status.QUEUED):
                submission.advance(Submission.Status.SCORING)


def settle(evaluation: Evaluation) -> bool:
    """Publish the result, or the failure, if no target is left to score; True for the one call.

    Whoever ends a target looks after its own write has committed, so the last one sees all rows.
    """
    evaluation.refresh_from_db(fields=["status", "changed"])
    if evaluation.status != Status.SCORING:
        return False
    statuses = set(evaluation.items.values_list("status", flat=True))
    if statuses & {ItemStatus.QUEUED, ItemStatus.SCORING}:
        return False
    if statuses == {ItemStatus.SCORED}:
        return _publish(evaluation)
    return _give_up(evaluation, list(evaluation.items.filter(status__in=BAD)))


def fail(submission: Submission, *, error: BaseException | None, during: str) -> None:
    """End a submission for a reason of ours: an incident in the log, its number for the team.

    What has ended already stays as it is.  The error's text may name the truth: log only.
    """
    incident = secrets.token_hex(4)
    log.error("submission failed", submission=submission.pk, incident=incident, during=during,
              exc_info=error)  # fmt: skip
    with transaction.atomic():
        _end_all(submission, to=Status.FAILED)
        submission.refresh_from_db()
        if submission.is_live:
            sentence = f"Something broke on our side during {during} (incident {incident})."
            _fail(submission, blame=Blame.SYSTEM, incident=incident, sentence=sentence)
            outbox.tell(
                "failed", staff=True, subject=f"Submission {submission.pk} failed",
                text=f"{sentence} The log has the cause. When it is removed, choose «Try again».",
                path=f"/admin/submissions/submission/?q={incident}",
                facts={"submission": submission.pk, "incident": incident},
            )  # fmt: skip


def cancel(submission: Submission) -> None:
    """Stop what is under way: nothing more is taken, and what is held is dropped."""
    _end_all(submission, to=Status.CANCELLED)


def end(evaluation: Evaluation, *, to: str) -> bool:
    """End a live evaluation without a result; nothing of it is taken any more.  False: it ended."""
    if not evaluation.advance(to, finished=now()):
        return False
    held = evaluation.items.filter(status__in=(ItemStatus.QUEUED, ItemStatus.SCORING))
    held.update(status=ItemStatus.CANCELLED, lease=None, changed=now())
    return True


@transaction.atomic
def try_again(evaluation: Evaluation, *, by: User) -> int:
    """Let an organiser have what could not be scored scored again: how many targets that are.

    What has its score keeps it.  Refused: nothing failed, or the submission has ended otherwise.
    """
    rows = evaluation.items.filter(status__in=(*BAD, ItemStatus.CANCELLED))
    targets = list(rows.values_list("target", flat=True))
    if evaluation.status not in (*Evaluation.LIVE, Status.FAILED) or not targets:
        raise Refused(
            "nothing_failed",
            f"Nothing of this evaluation has failed: it is {evaluation.status}. There is nothing "
            "to try again.",
        )
    note = f"tries again: {_names(targets)}"
    if evaluation.status == Status.FAILED:
        evaluation.advance(Status.SCORING, by=by, note=note, finished=None)
    else:
        audit.record("evaluation", str(evaluation.pk), after=evaluation.status, by=by, note=note)
    submission = evaluation.submission
    if not evaluation.background and _is(submission, Submission.Status.FAILED):
        submission.advance(
            Submission.Status.SCORING, by=by, note=note, blame="", message="", incident=""
        )
    fresh: dict[str, Any] = {"attempts": 0, "deaths": 0, "blame": "", "due": None, "worker": ""}
    count = rows.update(status=ItemStatus.QUEUED, changed=now(), **fresh)
    turns.top_up()
    return count


@transaction.atomic
def renew(evaluation: Evaluation) -> bool:
    """Begin a live evaluation anew under the installed evaluator, of which another one began it.

    What was scored already is looked up or scored again: no result mixes two versions.
    """
    rows = Evaluation.objects.filter(
        pk=evaluation.pk, status__in=Evaluation.LIVE, evaluator=evaluation.evaluator
    )
    if not rows.update(evaluator=scoring.version()):
        return False
    items = evaluation.items.exclude(status=ItemStatus.CANCELLED)
    items.update(status=ItemStatus.QUEUED, score=None, content="", attempts=0, lease=None)
    turns.top_up()
    return True


def tell_of_quarantine(item: Item, evaluation: Evaluation) -> None:
    """Let organisers know of a target that stops whatever works on it; once per evaluation."""
    submission = evaluation.submission
    with transaction.atomic():
        audit.record("item", str(item.pk), before="scoring", after="quarantined",
                     note=f"{item.target}: {item.trouble}")  # fmt: skip
        outbox.tell(
            "quarantined", staff=True, once=f"quarantined-{evaluation.pk}",
            subject=f"{item.target} of submission {submission.pk} is in quarantine",
            text=f"The process that scored it died twice: {item.trouble}. All other targets go on. "
            "When the cause is removed, choose «Try again» for the submission.",
            path=f"/admin/submissions/item/?evaluation__id__exact={evaluation.pk}",
            facts={"submission": submission.pk, "target": item.target},
        )  # fmt: skip


def _publish(evaluation: Evaluation) -> bool:
    items = list(evaluation.items.all())
    try:
        text = scoring.combine([item.score or {} for item in items], rules(evaluation))
    except Exception as error:  # it would break again each time: the submission must not wait
        log.exception("scores cannot be pooled", evaluation=evaluation.pk)
        items[0].trouble = f"its scores cannot be pooled: {type(error).__name__}: {error}"
        return _give_up(evaluation, items[:1])
    result = json.loads(text)
    with transaction.atomic():
        won = evaluation.advance(
            Status.SCORED, result=text, labels=result["labels"], finished=now(),
            overall=result["overall"], instance=result["instance"], semantic=result["semantic"],
            timings={item.target: item.seconds for item in items},
        )  # fmt: skip
        submission = evaluation.submission
        if won and _is(submission, Submission.Status.SCORING) and not evaluation.background:
            submission.advance(Submission.Status.SCORED)
            _tell(submission, "scored", "was scored", "Its page shows the scores.")
    return won


def _give_up(evaluation: Evaluation, bad: list[Item]) -> bool:
    """Some target has no score and gets none: everything else was done before this is said."""
    blames = {item.blame for item in bad} - {""}
    blame = next((b for b in (Blame.ORGANISER, Blame.SYSTEM) if b in blames), Blame.SYSTEM)
    incident = secrets.token_hex(4)
    for item in bad:
        log.error("target has no score", item=item.pk, target=item.target, incident=incident,
                  status=item.status, trouble=item.trouble)  # fmt: skip
    with transaction.atomic():
        won = evaluation.advance(Status.FAILED, finished=now(), note=incident)
        submission = evaluation.submission
        if won:
            _tell_organisers(evaluation, bad, incident=incident)
        if won and _is(submission, Submission.Status.SCORING) and not evaluation.background:
            sentence = _sentence(bad, blame=blame, incident=incident)
            _fail(submission, blame=blame, incident=incident, sentence=sentence)
    return won


def _sentence(bad: list[Item], *, blame: str, incident: str) -> str:
    """For the team: what has no score, and whose move it is; nothing of the cause's own words."""
    names = _names(item.target for item in bad)
    if blame == Blame.ORGANISER:
        return (
            f"{names} could not be scored (incident {incident}). The organisers were told and can "
            "have it tried again; what has a score keeps it."
        )
    return f"Something broke on our side during the scoring of {names} (incident {incident})."


def _fail(submission: Submission, *, blame: str, incident: str, sentence: str) -> None:
    submission.advance(
        Submission.Status.FAILED, blame=blame, quota_used=False, incident=incident,
        message=sentence, note=incident,
    )  # fmt: skip
    _tell(submission, "failed", "failed", f"{sentence} No quota was used.")


def _tell(submission: Submission, kind: str, what: str, text: str) -> None:
    outbox.tell(
        kind, team=submission.team, subject=f"{submission.method} {what}", text=text,
        path=submission.get_absolute_url(), facts={"submission": submission.pk},
    )  # fmt: skip


def _tell_organisers(evaluation: Evaluation, bad: list[Item], *, incident: str) -> None:
    submission = evaluation.submission
    troubles = "\n".join(f"{item.target}: {item.trouble}" for item in bad[:NAMED])
    outbox.tell(
        "failed", staff=True, subject=f"Submission {submission.pk} could not be scored",
        text=f"Incident {incident}, {len(bad)} targets without a score:\n{troubles}\n"
        "When the cause is removed, choose «Try again» for the submission.",
        path=f"/admin/submissions/item/?evaluation__id__exact={evaluation.pk}",
        facts={"submission": submission.pk, "incident": incident},
    )  # fmt: skip


def _end_all(submission: Submission, *, to: str) -> None:
    for evaluation in submission.evaluations.filter(status__in=Evaluation.LIVE):
        end(evaluation, to=to)


def _is(submission: Submission, status: str) -> bool:
    submission.refresh_from_db(fields=["status", "changed"])
    return submission.status == status


def _names(targets: Iterable[str]) -> str:
    """`a, b and 3 more`."""
    names = sorted(targets)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
