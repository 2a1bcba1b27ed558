"""One crop's truth is mended after submissions were scored: what is computed, shown, published."""

import shutil
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from server.accounts.models import AuditEvent
from server.challenges.bundle import read_bundle
from server.challenges.editions import propose
from server.challenges.loading import load
from server.challenges.models import Edition, Phase, ProtocolVersion
from server.errors import Refused
from server.leaderboard.standings import board
from server.notices.models import Notice
from server.submissions import rescoring, upkeep
from server.submissions.models import Evaluation, Item, ItemScore, Submission
from tests.server import entries
from tests.server.making import entered
from tests.synthetic import write_submission

TARGET = "crop1/mito"


def mend(folder: Path, target: str = TARGET) -> None:
    """Another truth for one target: its largest object is gone."""
    array = zarr.open_array(str(folder / "truth.zarr" / target), mode="r+")
    values = np.asarray(array[:])
    ids, sizes = np.unique(values[values > 0], return_counts=True)
    values[values == ids[sizes.argmax()]] = 0
    array[:] = values


def order(phase: Phase, people: SimpleNamespace) -> list[tuple[str, float]]:
    return [(row.team, row.score) for row in board(phase, viewer=people.staff).rows]


def outcome(phase: Phase) -> dict[str, float]:
    """What each team has in the phase's present edition."""
    rows = Evaluation.objects.filter(truth=phase.truth, protocol=phase.protocol, background=False)
    return {row.submission.team.name: row.overall for row in rows}


@pytest.fixture
def scene(bundle_folder, tmp_path, people, work, transactional_db) -> SimpleNamespace:
    """Two scored submissions, then a mended truth that was loaded over them."""
    folder = shutil.copytree(bundle_folder, tmp_path / "bundle")
    phase = load(read_bundle(folder)).phases.get()
    files = {}
    for user, quality in ((people.ada, 0.95), (people.bob, 0.7)):
        files[user.name] = tmp_path / f"{user.name}.zip"
        write_submission(files[user.name], folder, quality=quality)
        entered(phase, user, files[user.name].read_bytes())
    work()
    before = order(phase, people)
    mend(folder)
    load(read_bundle(folder), by=people.staff)
    phase.refresh_from_db()
    edition = phase.editions.get(state="draft")
    return SimpleNamespace(folder=folder, phase=phase, edition=edition, files=files, before=before)


def test_the_board_stays_and_one_item_of_each_submission_is_computed(scene, people, work):
    phase, edition = scene.phase, scene.edition
    assert phase.truth.number == 1
    assert (edition.number, edition.truth.number) == (2, 2)
    assert order(phase, people) == scene.before

    plan = rescoring.plan(edition)
    assert (plan.submissions, plan.items, plan.computed) == (2, 12, 2)
    assert plan.voxels == 2 * 16 * 32 * 32
    assert plan.seconds > 0

    known = ItemScore.objects.count()
    assert rescoring.begin(edition, by=people.staff) == 2
    assert rescoring.begin(edition, by=people.staff) == 0
    with pytest.raises(Refused, match="2 of 2 submissions wait for their score"):
        rescoring.publish(edition, by=people.staff)
    shown = {row.pk: row.evaluation.overall for row in Submission.objects.all()}
    work()
    assert order(phase, people) == scene.before
    rows = Submission.objects.with_progress()  # nobody is shown what is not published
    assert {row.pk: row.evaluation.overall for row in rows} == shown
    assert {row.items_done for row in rows} == {6}
    assert {row.overall for row in edition.evaluations.all()}.isdisjoint(shown.values())
    assert rescoring.extend() == 1
    edition.refresh_from_db()
    assert edition.state == "ready"
    assert str(rescoring.progress(edition)) == "2 of 12 items recomputed"
    assert ItemScore.objects.count() == known + 2
    computed = Item.objects.filter(evaluation__edition=edition, reused=False)
    assert {item.target for item in computed} == {TARGET}
    _check_report(edition, scene)
    _check_published(edition, scene, people)
    _check_going_back(scene, people, work)


def _check_report(edition: Edition, scene: SimpleNamespace) -> None:
    report = edition.diff
    assert report["causes"] == [{"target": TARGET, "why": f"the truth of {TARGET} changed"}]
    assert [(row["target"], row["entries"]) for row in report["targets"]] == [(TARGET, 2)]
    assert {row["name"] for row in report["rows"]} == {"Ada", "Bob"}
    assert [(row["name"], row["score"][0]) for row in report["rows"]] == scene.before
    assert all(row["score"][0] != row["score"][1] for row in report["rows"])
    assert all(row["targets"] == [TARGET] for row in report["rows"])


def _check_published(edition: Edition, scene: SimpleNamespace, people: SimpleNamespace) -> None:
    phase = scene.phase
    new = {row["name"]: row["score"][1] for row in edition.diff["rows"]}
    rescoring.publish(edition, by=people.staff)
    phase = Phase.objects.get(pk=phase.pk)
    assert (phase.truth, edition.state) == (edition.truth, "published")
    assert outcome(phase) == new
    assert dict(order(phase, people)) == new
    old = phase.editions.get(number=1)
    assert old.state == "replaced"
    shown = board(phase, viewer=people.staff, edition=old).rows
    assert [(row.team, row.score) for row in shown] == scene.before
    assert Notice.objects.filter(kind="rescored").count() == 2
    assert not any(str(score)[:5] in notice.text for notice in Notice.objects.filter(
        kind="rescored") for score in new.values())  # fmt: skip
    event = AuditEvent.objects.filter(kind="edition", key="made-up/test/2").first()
    assert (event.before, event.after, event.actor) == ("ready", "published", people.staff)
    with pytest.raises(Refused, match="only one that is not yet published"):
        rescoring.discard(edition)


def _check_going_back(scene: SimpleNamespace, people: SimpleNamespace, work: Any) -> None:
    """The old truth proposed again: nothing is computed for it, and the old order is back."""
    phase = Phase.objects.get(pk=scene.phase.pk)
    first = phase.challenge.truths.get(number=1)
    back = propose(phase, truth=first, protocol=phase.protocol, by=people.staff)
    assert rescoring.plan(back).computed == 0
    rescoring.begin(back)
    work()
    rescoring.settle(back)
    assert rescoring.progress(back).computed == 0
    rescoring.publish(back)
    assert order(Phase.objects.get(pk=phase.pk), people) == scene.before
    states = [row.state for row in phase.editions.order_by("number")]
    assert states == ["replaced", "replaced", "published"]


def test_the_command_prints_what_was_recomputed_and_who_moved(scene, people, work):
    out = StringIO()
    arguments = ("rescore", "made-up", "test")
    call_command(*arguments, "--plan", stdout=out)
    assert "2 submissions with 12 items; 2 of them have no score" in out.getvalue()
    assert not scene.edition.evaluations.exists()
    call_command(*arguments, stdout=out)
    work()
    out = StringIO()
    by = people.staff.email
    call_command(*arguments, "--wait", "--publish", "--by", by, stdout=out)
    text = out.getvalue()
    assert "2 of 12 items recomputed; 0 submissions wait" in text
    assert f"the truth of {TARGET} changed" in text
    assert "Published" in text
    (ada,) = [line for line in text.splitlines() if line.startswith("Ada ")]
    assert "1 → 1" in ada
    assert TARGET in ada
    with pytest.raises(CommandError, match="No edition waits"):
        call_command(*arguments, stdout=out)


def test_a_discarded_edition_leaves_no_trace_on_the_board(scene, people, work):
    rescoring.begin(scene.edition, by=people.staff)
    rescoring.discard(scene.edition, by=people.staff, note="wrong file")
    assert not Item.objects.filter(evaluation__edition=scene.edition, status="queued").exists()
    work()
    assert rescoring.extend() == 0
    phase = Phase.objects.get(pk=scene.phase.pk)
    assert order(phase, people) == scene.before
    assert not ItemScore.objects.filter(truth_digest=scene.edition.truth.digests[TARGET]).exists()
    with pytest.raises(Refused, match="is discarded"):
        rescoring.begin(scene.edition)
    with pytest.raises(Refused, match="cannot be published yet: it is discarded"):
        rescoring.publish(scene.edition)


def test_a_submission_that_comes_meanwhile_joins(scene, people, work):
    rescoring.begin(scene.edition)
    work()
    rescoring.settle(scene.edition)
    assert scene.edition.state == "ready"
    late = entered(scene.phase, people.staff, scene.files["Ada"].read_bytes())
    work()
    with pytest.raises(Refused, match="1 of 3 submissions wait"):
        rescoring.publish(scene.edition)
    upkeep.reconcile(at=now())
    work()
    upkeep.reconcile(at=now())
    scene.edition.refresh_from_db()
    assert scene.edition.state == "ready"
    assert scene.edition.evaluations.get(submission=late).background
    assert rescoring.progress(scene.edition).computed == 2  # the same arrays were known
    rescoring.publish(scene.edition)
    phase = Phase.objects.get(pk=scene.phase.pk)
    assert len(order(phase, people)) == 3
    _check_catching_up(scene, phase, late, work)
    assert len(order(phase, people)) == 3


def _check_catching_up(scene: SimpleNamespace, phase: Phase, late: Submission, work: Any) -> None:
    """An evaluation that ends under the old truth after the publication is followed by another."""
    late.evaluations.update(truth=scene.phase.truth, edition=None, background=False)
    assert rescoring.extend() == 1
    assert rescoring.extend() == 0
    work()
    assert late.evaluations.first().truth == phase.truth


@pytest.mark.django_db
def test_rules_that_the_installed_evaluator_does_not_have_are_refused():
    phase = entries.phase(entries.challenge())
    other = ProtocolVersion.objects.create(
        name="crista-1", digest="0" * 64, rules={}, evaluator="0.0.1"
    )
    edition = propose(phase, truth=phase.truth, protocol=other)
    with pytest.raises(Refused, match=r"other rules for crista-1.*0\.0\.1"):
        rescoring.begin(edition)
    assert edition.state == "draft"


def test_another_protocol_computes_everything_and_the_report_names_the_rules(scene, people, work):
    protocol = ProtocolVersion.present("cellmap-2026.1")
    edition = propose(scene.phase, truth=scene.phase.truth, protocol=protocol)
    scene.edition.refresh_from_db()
    assert scene.edition.state == "discarded"
    assert rescoring.plan(edition).computed == 12
    rescoring.begin(edition)
    work()
    rescoring.settle(edition)
    whys = [cause["why"] for cause in edition.diff["causes"]]
    assert "protocol cellmap-2026.1 instead of crista-1" in whys
    assert len(whys) > 3
    assert 6 < rescoring.progress(edition).computed <= 12  # arrays of both that are equal: once
