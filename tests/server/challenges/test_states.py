"""Truths, protocols and editions through time: what never changes, and what waits for what."""

import pytest
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.urls import reverse

from server.accounts.models import AuditEvent
from server.challenges.editions import STEPS, adopt, key_of, move, propose, replace, successor
from server.challenges.models import Challenge, Edition, Phase, ProtocolVersion, TruthVersion
from server.errors import IllegalTransition
from tests.server import entries
from tests.server.making import person
from tests.server.reading import signed_in

pytestmark = pytest.mark.django_db
OTHER = "cellmap-2026.1"


@pytest.fixture
def phase() -> Phase:
    return entries.phase(entries.challenge())


@pytest.fixture
def scored(phase) -> Phase:
    """The same with an entry on its board."""
    entries.scored(phase, person("Ada").own_team, 0.5)
    return phase


def truth(phase: Phase, number: int) -> TruthVersion:
    return entries.truth_version(phase.challenge, number=number)


def states(phase: Phase) -> list[tuple[int, int, str]]:
    """(number, truth, state) of each edition, first to last."""
    rows = phase.editions.order_by("number")
    return [(row.number, row.truth.number, row.state) for row in rows]


@pytest.mark.parametrize(
    "field",
    ["manifest_csv", "labels_toml", "labels", "path", "digest", "digests", "number", "note"],
)
def test_no_field_of_a_truth_version_is_saved_again(phase, field):
    before = TruthVersion.objects.values().get()
    row = phase.truth
    setattr(row, field, 7 if field == "number" else "other")
    for only in (None, [field], [field, "fingerprint"]):
        with pytest.raises(TypeError, match="load the new truth as another version"):
            row.save(**({} if only is None else {"update_fields": only}))
    assert TruthVersion.objects.values().get() == before


def test_only_what_says_whether_its_files_changed_is_stored_anew(phase):
    phase.truth.fingerprint, phase.truth.path = "f" * 64, "elsewhere"
    phase.truth.save(update_fields=["fingerprint"])
    stored = TruthVersion.objects.get()
    assert (stored.fingerprint, stored.path) == ("f" * 64, "/nowhere")


@pytest.mark.parametrize("field", ["name", "rules", "digest", "evaluator"])
def test_no_field_of_a_protocol_version_is_saved_again(phase, field):
    setattr(phase.protocol, field, "other")
    with pytest.raises(TypeError, match="its rules make another version"):
        phase.protocol.save()
    assert ProtocolVersion.objects.get().name == "crista-1"


def test_a_protocol_is_stored_once_however_often_it_is_asked_for():
    one, two = ProtocolVersion.present("crista-1"), ProtocolVersion.present("crista-1")
    assert one == two
    assert ProtocolVersion.present(OTHER) != one
    assert ProtocolVersion.objects.count() == 2


def test_rules_that_changed_under_the_same_name_are_another_version(phase):
    earlier = ProtocolVersion.objects.create(
        name="crista-1", digest="0" * 64, rules={}, evaluator="0.0.1"
    )
    assert ProtocolVersion.present("crista-1") == phase.protocol != earlier
    with pytest.raises(IntegrityError), transaction.atomic():
        ProtocolVersion.objects.create(name="crista-1", digest="0" * 64, rules={}, evaluator="1")


def test_what_a_board_was_made_under_cannot_be_deleted(scored):
    replace(ready(propose(scored, truth=truth(scored, 2), protocol=scored.protocol)))
    for row in (*TruthVersion.objects.all(), *ProtocolVersion.objects.all(), scored.challenge):
        with pytest.raises(ProtectedError), transaction.atomic():
            row.delete()
    assert states(scored) == [(1, 1, "replaced"), (2, 2, "published")]


def test_two_truths_of_a_challenge_share_no_number(phase):
    with pytest.raises(IntegrityError), transaction.atomic():
        truth(phase, 1)


def ready(edition: Edition) -> Edition:
    for state in ("scoring", "ready"):
        move(edition, state)
    return edition


@pytest.mark.parametrize("before", Edition.State.values)
@pytest.mark.parametrize("after", Edition.State.values)
def test_an_edition_takes_the_steps_of_the_table_and_no_other(phase, before, after):
    Edition.objects.filter(phase=phase).delete()
    edition = propose(phase, truth=phase.truth, protocol=phase.protocol)
    Edition.objects.filter(pk=edition.pk).update(state=before)
    edition.refresh_from_db()
    events = AuditEvent.objects.count()
    if after in STEPS.get(before, ()):
        assert move(edition, after)
        assert (edition.state, AuditEvent.objects.count()) == (after, events + 1)
        return
    with pytest.raises(IllegalTransition, match=f"{before} → {after}"):
        move(edition, after)
    assert (Edition.objects.get().state, AuditEvent.objects.count()) == (before, events)


def test_published_replaced_and_discarded_editions_are_never_in_preparation_again():
    assert {after for steps in STEPS.values() for after in steps} >= {"published", "discarded"}
    for ended in ("published", "replaced", "discarded"):
        assert not {"draft", "scoring", "ready"} & STEPS.get(ended, set())


def test_whoever_comes_second_moves_nothing_and_writes_nothing_down(phase):
    edition = propose(phase, truth=truth(phase, 2), protocol=phase.protocol)
    stale = Edition.objects.get(pk=edition.pk)
    assert move(edition, "discarded")
    events = AuditEvent.objects.count()
    assert not move(stale, "scoring")
    assert (stale.state, AuditEvent.objects.count()) == ("discarded", events)


def test_each_step_is_written_down_with_who_took_it(phase):
    staff = person("Organiser", is_staff=True)
    edition = propose(phase, truth=truth(phase, 2), protocol=phase.protocol, by=staff)
    move(edition, "discarded", by=staff, note="no")
    rows = AuditEvent.objects.filter(kind="edition", key=key_of(edition)).order_by("pk")
    assert key_of(edition) == "demo/test/2"
    assert [(row.before, row.after, row.actor, row.note) for row in rows] == [
        ("", "draft", staff, "truth 2, protocol crista-1"),
        ("draft", "discarded", staff, "no"),
    ]


@pytest.mark.parametrize("state", ["draft", "scoring", "ready"])
def test_a_third_truth_takes_the_place_of_whatever_is_in_preparation(scored, state):
    second = truth(scored, 2)
    waiting = propose(scored, truth=second, protocol=scored.protocol)
    Edition.objects.filter(pk=waiting.pk).update(state=state)
    assert propose(scored, truth=second, protocol=scored.protocol) == waiting
    propose(scored, truth=truth(scored, 3), protocol=scored.protocol)
    assert states(scored) == [(1, 1, "published"), (2, 2, "discarded"), (3, 3, "draft")]
    scored.refresh_from_db()
    assert scored.truth.number == 1


def test_two_editions_are_neither_published_nor_prepared_at_once(phase):
    fields = {"phase": phase, "truth": phase.truth, "protocol": phase.protocol, "number": 9}
    propose(phase, truth=truth(phase, 2), protocol=phase.protocol)
    for state in ("published", "draft", "scoring", "ready"):
        with pytest.raises(IntegrityError), transaction.atomic():
            Edition.objects.create(state=state, **fields)
    Edition.objects.create(state="discarded", **fields)  # of those there may be many


@pytest.mark.parametrize(
    ("status", "at_once"),
    [("received", True), ("checking", True), ("queued", True), ("scoring", True),
     ("rejected", True), ("failed", True), ("cancelled", True), ("scored", False)],
)  # fmt: skip
def test_only_a_score_keeps_a_board_as_it_is(phase, status, at_once):
    entries.submission(phase, person("Ada").own_team, status=status)
    second = truth(phase, 2)
    assert adopt(phase, truth=second, protocol=phase.protocol, by=None) is at_once
    assert Phase.objects.get().truth.number == (2 if at_once else 1)
    assert states(phase)[-1] == (2, 2, "published" if at_once else "draft")


def test_of_two_phases_only_the_one_without_scores_takes_the_new_truth(scored):
    other = entries.phase(scored.challenge, "final")
    second = truth(scored, 2)
    for each in (scored, other):
        adopt(each, truth=second, protocol=each.protocol, by=None)
    assert [Phase.objects.get(pk=each.pk).truth.number for each in (scored, other)] == [1, 2]
    assert states(other) == [(1, 1, "replaced"), (2, 2, "published")]


def test_another_protocol_waits_and_a_third_truth_under_it_waits_in_its_place(scored):
    other = ProtocolVersion.present(OTHER)
    assert not adopt(scored, truth=scored.truth, protocol=other, by=None)
    assert not adopt(scored, truth=scored.truth, protocol=other, by=None)
    assert scored.editions.count() == 2
    assert not adopt(scored, truth=truth(scored, 2), protocol=other, by=None)
    assert states(scored) == [(1, 1, "published"), (2, 1, "discarded"), (3, 2, "draft")]
    scored.refresh_from_db()
    assert scored.protocol.name == "crista-1"


def test_what_is_in_place_already_discards_nothing_that_was_proposed_by_hand(scored):
    propose(scored, truth=scored.truth, protocol=ProtocolVersion.present(OTHER))
    assert adopt(scored, truth=scored.truth, protocol=scored.protocol, by=None)
    assert [state for _, _, state in states(scored)] == ["published", "draft"]


def test_the_successor_is_the_next_that_was_published_never_a_discarded_one(scored):
    first = scored.editions.get()
    move(propose(scored, truth=truth(scored, 2), protocol=scored.protocol), "discarded")
    assert successor(first) is None
    third = ready(propose(scored, truth=truth(scored, 3), protocol=scored.protocol))
    assert successor(first) is None
    replace(third)
    assert successor(first) == third
    assert successor(third) is None


def test_a_changed_limit_that_makes_no_sense_is_not_stored(scored):
    browser = signed_in(person("Organiser", is_staff=True, is_superuser=True))
    form = {"opens_0": "2030-01-02", "opens_1": "00:00", "closes_0": "2030-01-01"}
    more = {"closes_1": "00:00", "title": "T", "visibility": "some", "selection": "best"}
    answer = browser.post(reverse("admin:challenges_phase_change", args=[scored.pk]), form | more)
    assert answer.status_code == 200  # the form again, with its mistakes
    assert Phase.objects.values().get() == Phase.objects.filter(title=scored.title).values().get()
    assert not AuditEvent.objects.filter(kind="phase").exists()


def test_no_phase_is_deleted_in_the_admin_with_entries_or_without(scored):
    browser = signed_in(person("Organiser", is_staff=True, is_superuser=True))
    rows, spare = reverse("admin:challenges_phase_changelist"), entries.phase(scored.challenge, "a")
    for each in (scored, spare):
        url = reverse("admin:challenges_phase_delete", args=[each.pk])
        assert browser.post(url, {"post": "yes"}).status_code != 302
        wish = {"action": "delete_selected", "post": "yes", "_selected_action": [each.pk]}
        browser.post(rows, wish)
    assert set(Phase.objects.all()) == {scored, spare}


@pytest.mark.parametrize("model", ["challenge", "phase", "truthversion", "edition"])
def test_nobody_adds_in_the_admin_what_comes_with_a_bundle(phase, model):
    browser = signed_in(person("Organiser", is_staff=True, is_superuser=True))
    assert browser.get(f"/admin/challenges/{model}/add/").status_code == 403
    assert browser.get(f"/admin/challenges/{model}/").status_code == 200


def test_a_challenge_with_phases_is_not_deleted_in_the_admin(scored):
    browser = signed_in(person("Organiser", is_staff=True, is_superuser=True))
    url = reverse("admin:challenges_challenge_delete", args=[scored.challenge_id])
    assert browser.post(url, {"post": "yes"}).status_code != 302
    assert Challenge.objects.filter(pk=scored.challenge_id).exists()
