"""Made-up rows for tests of pages and boards: a challenge, teams, submissions in any state."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import count

from django.utils.timezone import now

from evaluator.scores import Status, Sums, TargetScore
from server.accounts.models import AuditEvent, Membership, Team, User
from server.challenges.models import Challenge, Phase, ProtocolVersion, TruthVersion
from server.submissions.models import Evaluation, Item, Submission, Upload

MANIFEST = """crop_name,dataset,class_label,voxel_size,translation,shape
1,jrc_demo-1,mito,[8.0;4.0;4.0],[0.0;0.0;0.0],[32;48;64]
1,jrc_demo-1,membrane,[8.0;4.0;4.0],[0.0;0.0;0.0],[32;48;64]
2,jrc_demo-2,mito,[8.0;4.0;4.0],[0.0;0.0;0.0],[16;16;16]
"""
LABELS = '[membrane]\nid = 2\nkind = "semantic"\n\n[mito]\nid = 1\nkind = "instance"\n'
KINDS = [{"name": "membrane", "kind": "semantic"}, {"name": "mito", "kind": "instance"}]
TARGETS = [("crop2/mito", 4096), ("crop1/membrane", 98304), ("crop1/mito", 98304)]
BEGAN = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)
_numbers = count(1)


def team(name: str, *members: User, baseline: bool = False) -> Team:
    """A team; its first member owns it."""
    made = Team.objects.create(name=name, baseline=baseline)
    for place, user in enumerate(members):
        role = Membership.Role.MEMBER if place else Membership.Role.OWNER
        Membership.objects.create(team=made, user=user, role=role)
    return made


def challenge(slug: str = "demo", title: str = "Demo challenge", **fields) -> Challenge:
    """A challenge with its first truth version and no phase."""
    fields = {"summary": "Organelles of two crops.", "protocol": "crista-1"} | fields
    made = Challenge.objects.create(slug=slug, title=title, **fields)
    truth_version(made, number=1)
    return made


def truth_version(owner: Challenge, *, number: int) -> TruthVersion:
    return TruthVersion.objects.create(
        challenge=owner, number=number, manifest_csv=MANIFEST, labels_toml=LABELS,
        manifest_digest="a" * 64, labels=KINDS, path="/nowhere", digest=f"{number:064d}",
        digests={}, fingerprint="",
    )  # fmt: skip


def phase(owner: Challenge, slug: str = "test", *, opens: int = -1, closes: int = 30, **fields):
    """A phase; opens, closes: days from now."""
    at = now()
    return Phase.objects.create(
        challenge=owner, truth=owner.truths.first(), slug=slug,
        protocol=ProtocolVersion.present(owner.protocol), title=f"Phase {slug}",
        opens=at + timedelta(days=opens), closes=at + timedelta(days=closes), **fields,
    )  # fmt: skip


def submission(where: Phase, by: Team, *, status: str = "scoring", **fields) -> Submission:
    """An entry in this state, with the history of its statuses."""
    number = next(_numbers)
    user = by.members.first()
    upload = Upload.objects.create(
        team=by, user=user, phase=where, filename=f"entry-{number}.zip", size=1000 + number,
        sha256=f"{number:064x}", status=Upload.Status.FINISHED, expires=now(),
    )  # fmt: skip
    fields = {"method": f"Method {number}", "created": BEGAN + timedelta(minutes=number)} | fields
    made = Submission.objects.create(
        upload=upload, phase=where, team=by, user=user, status=status, **fields
    )
    AuditEvent.objects.create(
        at=made.created, actor=user, kind="submission", key=str(made.pk), after="received"
    )
    return made


def evaluation(of: Submission, *, status: str = "scoring", done: int = 0, **fields) -> Evaluation:
    """Its evaluation under the phase's truth, with a row per target of which `done` are scored."""
    made = Evaluation.objects.create(
        submission=of, truth=of.phase.truth, protocol=of.phase.protocol, evaluator="0.1.0",
        status=status, **fields,
    )  # fmt: skip
    for place, (target, voxels) in enumerate(TARGETS):
        crop, label = target.split("/")
        score = TargetScore(crop, label, Status.SCORED, voxels, Sums(), "0" * 64).to_json()
        Item.objects.create(
            evaluation=made, target=target, crop=crop, label=label, voxels=voxels,
            status="scored" if place < done else "queued", score=score if place < done else None,
        )  # fmt: skip
    return made


def scored(
    where: Phase, by: Team, overall: float, *, mito: float = 0.5, membrane: float = 0.5, **fields
) -> Submission:
    """A scored entry.  mito and membrane: its scores per label, which are its parts too."""
    made = submission(where, by, status="scored", **fields)
    labels = {
        "mito": {"kind": "instance", "score": mito, "iou": None, "dice": None, "f1": mito,
                 "pq": mito / 2, "hausdorff_score": mito},
        "membrane": {"kind": "semantic", "score": membrane, "iou": membrane, "dice": membrane},
    }  # fmt: skip
    result = json.dumps({"overall": overall, "labels": labels}, sort_keys=True)
    evaluation(
        made, status="scored", done=len(TARGETS), overall=overall, instance=mito,
        semantic=membrane, labels=labels, result=result, finished=made.created,
    )  # fmt: skip
    Submission.objects.filter(pk=made.pk).update(
        report={"accepted": True, "problems": [], "targets": {}}
    )
    return Submission.objects.get(pk=made.pk)
