"""Work on targets, with real stages: scores by digest, processes that die, truth that is broken."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from evaluator import SubmissionWriter, create_volume, load_manifest, open_volume
from server.accounts.models import AuditEvent
from server.challenges.bundle import read_bundle
from server.challenges.loading import load
from server.challenges.models import ProtocolVersion, TruthVersion
from server.errors import Refused
from server.notices.models import Notice
from server.submissions import evaluation, intake, items
from server.submissions.models import Evaluation, Item, ItemScore, Submission
from tests.server.making import entered, make_bundle
from tests.server.taking import checked, hold, score, score_one
from tests.synthetic import predict


@pytest.fixture
def accepted(phase, people, queue_up, packed) -> Evaluation:
    return checked(phase, people.ada, packed.read_bytes())


@contextmanager
def stages_die(array: Path) -> Iterator[None]:
    """Every process that reads the array is killed while it does: its chunks are pipes."""
    chunks = [file for file in array.rglob("*") if file.is_file() and not file.name.startswith(".")]
    assert chunks
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.01):
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # it was killed a moment ago
                    if child.ppid() != os.getpid():  # the parent of stages is no stage
                        child.send_signal(signal.SIGKILL)

    thread = threading.Thread(target=kill)
    with ExitStack() as undo:
        for chunk in chunks:
            away = chunk.with_name(f".{chunk.name}")
            chunk.rename(away)
            undo.callback(away.replace, chunk)
            os.mkfifo(chunk)
        thread.start()
        undo.callback(thread.join)
        undo.callback(over.set)
        yield


def test_the_same_file_of_another_team_is_read_and_not_scored_again(
    accepted, phase, people, packed
):
    score(accepted)
    assert set(accepted.items.values_list("reused", flat=True)) == {False}
    twin = checked(phase, people.bob, packed.read_bytes())
    score(twin)
    assert set(twin.items.values_list("reused", flat=True)) == {True}
    assert twin.result == accepted.result
    assert ItemScore.objects.count() == 6


def test_of_another_file_only_the_arrays_that_changed_are_scored(
    accepted, phase, people, bundle_folder, tmp_path
):
    score(accepted)
    manifest, arrays = load_manifest(bundle_folder), predict(bundle_folder, quality=0.9)
    arrays["crop2/mito"] = np.roll(arrays["crop2/mito"], 3, axis=1)
    with SubmissionWriter(tmp_path / "other.zip", manifest) as writer:
        for path, array in reversed(arrays.items()):
            writer.write(manifest.by_path[path], array)
    row = checked(phase, people.bob, (tmp_path / "other.zip").read_bytes())
    score(row)
    assert list(row.items.filter(reused=False).values_list("target", flat=True)) == ["crop2/mito"]
    assert row.overall != accepted.overall


def test_one_crops_new_truth_is_all_that_is_scored_again_and_nothing_is_read_twice(
    phase, people, queue_up, tmp_path, packed
):
    row = checked(phase, people.ada, packed.read_bytes())
    score(row)
    truth = mended_truth(phase, tmp_path)
    shutil.move(row.submission.upload.path, tmp_path / "away")  # reading would fail
    again = evaluation.start(row.submission, truth=truth, protocol=phase.protocol, background=True)
    others = list(again.items.exclude(target="crop2/mito").values_list("target", flat=True))
    score(again, others)
    assert set(again.items.filter(target__in=others).values_list("reused", flat=True)) == {True}
    shutil.move(tmp_path / "away", row.submission.upload.path)
    score(again)
    assert list(again.items.filter(reused=False).values_list("target", flat=True)) == ["crop2/mito"]
    assert (again.status, again.result != row.result) == ("scored", True)


def mended_truth(phase, folder: Path) -> TruthVersion:
    """The same challenge with one array changed."""
    bundle = make_bundle(folder / "mended")
    target = load_manifest(bundle).by_path["crop2/mito"]
    place = bundle / "truth.zarr" / target.path
    array = open_volume(place).read()
    array[array == array.max()] = 0
    shutil.rmtree(place)
    create_volume(place, target.grid, array.dtype, chunks=(32, 32, 32))[:] = array
    load(read_bundle(bundle), in_place=True)
    return phase.challenge.truths.order_by("-number").first()


def test_the_second_process_that_dies_puts_a_target_in_quarantine_and_the_rest_goes_on(
    accepted, phase, settings
):
    settings.ITEM_PAUSE_S = 0
    poison, *others = list(accepted.items.values_list("target", flat=True))
    with stages_die(Path(phase.truth.path) / poison):
        score_one(accepted, poison)
        row = accepted.items.get(target=poison)
        assert (row.status, row.deaths) == ("queued", 1)
        assert "stage died: signal 9" in row.trouble
        score_one(accepted, poison)
    assert accepted.items.get(target=poison).status == "quarantined"
    told = Notice.objects.get(kind="quarantined")
    assert (told.staff, told.team, told.facts["target"]) == (True, None, poison)
    assert AuditEvent.objects.filter(kind="item", after="quarantined").count() == 1
    score(accepted, others)
    assert accepted.status == "failed"
    submission = Submission.objects.get()
    assert (submission.status, submission.blame, submission.quota_used) == (
        "failed", "organiser", False,
    )  # fmt: skip
    assert poison in submission.message
    assert "organisers were told" in submission.message
    assert accepted.items.filter(status="scored").count() == 5
    assert not list((settings.SCRATCH_DIR / "stages").glob("*"))


def test_an_organiser_has_a_quarantined_target_tried_again(accepted, people, settings, work):
    poison = accepted.items.first()
    Item.objects.filter(pk=poison.pk).update(deaths=1)
    items.end(hold(poison), trouble="memory", died=True)
    work()
    submission = Submission.objects.get()
    assert submission.status == "failed"
    done = set(ItemScore.objects.values_list("pk", flat=True))
    intake.try_again(submission, by=people.staff)
    work()
    submission.refresh_from_db()
    assert (submission.status, submission.message, submission.blame) == ("scored", "", "")
    assert submission.quota_used is False  # the failure was ours
    assert len(set(ItemScore.objects.values_list("pk", flat=True)) - done) == 1
    events = AuditEvent.objects.filter(actor=people.staff, kind="submission")
    assert [(e.before, e.after) for e in events] == [("failed", "scoring")]
    with pytest.raises(Refused, match="only a failed one"):
        intake.try_again(submission, by=people.staff)


def test_an_organiser_need_not_wait_for_the_rest_to_end(accepted, people):
    poison = accepted.items.first()
    Item.objects.filter(pk=poison.pk).update(deaths=1)
    items.end(hold(poison), trouble="memory", died=True)
    accepted.refresh_from_db()
    assert evaluation.try_again(accepted, by=people.staff) == 1
    score(accepted)
    assert accepted.status == "scored"


def test_a_failed_check_is_made_again(phase, people, work, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    evaluation.fail(submission, error=OSError("gone"), during="the check")
    intake.try_again(submission, by=people.staff)
    work()
    submission.refresh_from_db()
    assert submission.status == "scored"


def test_a_truth_that_cannot_be_read_is_the_organisers_fault(accepted, work):
    TruthVersion.objects.update(path="/nowhere")
    work()
    submission = Submission.objects.get()
    assert (submission.status, submission.blame, submission.quota_used) == (
        "failed", "organiser", False,
    )  # fmt: skip
    assert "nowhere" not in submission.message  # where the truth lies is nobody's business
    assert set(accepted.items.values_list("status", "attempts")) == {("failed", 1)}
    assert AuditEvent.objects.filter(kind="submission", after="failed").count() == 1
    assert Notice.objects.filter(kind="failed", staff=True).count() == 1
    mine = Notice.objects.get(kind="failed", team=submission.team)
    assert "nowhere" not in mine.text


def test_a_file_that_is_gone_is_our_fault(accepted, work):
    accepted.submission.upload.path.unlink()
    work()
    submission = Submission.objects.get()
    assert (submission.status, submission.blame) == ("failed", "system")
    assert "Something broke on our side during the scoring of" in submission.message


def test_a_mistake_of_ours_is_tried_three_times_and_seen(accepted, settings):
    settings.ITEM_PAUSE_S = 0
    TruthVersion.objects.update(manifest_csv="damaged")
    target = accepted.items.first().target
    for _ in range(3):
        with pytest.raises(Exception, match="first line must name"):
            score_one(accepted, target)
    item = accepted.items.get(target=target)
    assert (item.status, item.attempts, item.blame) == ("failed", 3, "system")
    assert Submission.objects.get().status == "scoring"  # the others are not done


def test_other_rules_than_it_was_begun_under_score_nothing(accepted, phase):
    other = ProtocolVersion.objects.create(
        name=phase.protocol.name, digest="0" * 64, rules={}, evaluator="9"
    )
    Evaluation.objects.update(protocol=other)
    target = accepted.items.first().target
    score_one(accepted, target)
    item = accepted.items.get(target=target)
    assert (item.status, item.blame) == ("failed", "organiser")
    assert "other rules for crista-1" in item.trouble


def test_a_score_written_by_a_twin_meanwhile_is_the_same_score(accepted):
    """Two workers on one target, as after a lost lease: both finish, one row, one score."""
    target = accepted.items.first().target
    item = hold(accepted.items.get(target=target))
    row = evaluation.loaded(accepted.pk)
    first, second = items.find_score(item, row), items.find_score(item, row)
    assert (first.score, first.reused, second.reused) == (second.score, False, True)
    assert ItemScore.objects.count() == 1
