from types import SimpleNamespace

import pytest
from django.db import IntegrityError

from server.challenges.models import Phase, TruthVersion
from server.errors import Refused
from tests.server.making import moment

VISITOR = SimpleNamespace(is_authenticated=False, is_staff=False)
PERSON = SimpleNamespace(is_authenticated=True, is_staff=False)
STAFF = SimpleNamespace(is_authenticated=True, is_staff=True)


def make_phase(**fields) -> Phase:
    values = {
        "title": "Final", "opens": moment("2026-03-01T12:00"), "closes": moment("2026-04-01T12:00"),
        "per_day": 2, "concurrent": 1,
    }  # fmt: skip
    return Phase(**(values | fields))


def refusal(call, *arguments, **named) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        call(*arguments, **named)
    return caught.value.code, caught.value.sentence


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-03-01T11:59", False),
        ("2026-03-01T12:00", True),
        ("2026-04-01T11:59", True),
        ("2026-04-01T12:00", False),
    ],
)
def test_a_phase_is_open_from_its_first_to_just_before_its_last_moment(at, is_open):
    assert make_phase().is_open(moment(at)) is is_open


def test_before_and_after_the_phase_the_date_is_said():
    phase = make_phase()
    code, sentence = refusal(phase.refuse_unless_open, moment("2026-02-01T00:00"))
    assert code == "phase_not_begun"
    assert "Final has not begun: it opens on 1 March 2026 at 12:00 UTC." in sentence
    code, sentence = refusal(phase.refuse_unless_open, moment("2026-05-01T00:00"))
    assert code == "phase_closed"
    assert "Final closed on 1 April 2026 at 12:00 UTC" in sentence
    phase.refuse_unless_open(moment("2026-03-15T00:00"))


SIGHTS = [
    # visibility, viewer, own -> entry, scores, result, digits
    ("full", VISITOR, False, (True, True, False, None)),
    ("full", PERSON, False, (True, True, False, None)),
    ("full", PERSON, True, (True, True, True, None)),
    ("ranks", VISITOR, False, (True, False, False, 3)),
    ("ranks", PERSON, False, (True, False, False, 3)),
    ("ranks", PERSON, True, (True, True, False, 3)),
    ("own", VISITOR, False, (False, False, False, 3)),
    ("own", PERSON, False, (False, False, False, 3)),
    ("own", PERSON, True, (True, True, False, 3)),
    ("staff", VISITOR, False, (False, False, False, None)),
    ("staff", PERSON, True, (False, False, False, None)),
    *((v, STAFF, own, (True, True, True, None))
      for v in ("full", "ranks", "own", "staff") for own in (True, False)),
]  # fmt: skip


@pytest.mark.parametrize(("visibility", "viewer", "own", "seen"), SIGHTS)
def test_who_sees_what_is_one_table(visibility, viewer, own, seen):
    sight = make_phase(visibility=visibility).sight(viewer, own=own)
    assert (sight.entry, sight.scores, sight.result, sight.digits) == seen


def test_a_score_is_cut_to_the_digits_a_viewer_may_see():
    phase = make_phase(visibility="ranks")
    assert phase.sight(PERSON, own=True).number(0.123456) == 0.123
    assert phase.sight(PERSON, own=False).number(0.123456) is None
    assert make_phase(visibility="full").sight(VISITOR, own=False).number(0.123456) == 0.123456
    assert phase.sight(STAFF, own=False).number(None) is None


@pytest.mark.parametrize("visibility", ["full", "ranks", "own", "staff"])
def test_before_the_embargo_ends_all_but_organisers_see_nothing(visibility):
    phase = make_phase(visibility=visibility, embargo=moment("2026-05-01T12:00"))
    before, end = moment("2026-05-01T11:59"), moment("2026-05-01T12:00")
    for viewer in (VISITOR, PERSON):
        for own in (True, False):
            sight = phase.sight(viewer, own=own, at=before)
            assert (sight.entry, sight.scores, sight.result) == (False, False, False)
            assert sight.number(0.5) is sight.of_label(0.5) is sight.of_target(0.5) is None
            open_ = make_phase(visibility=visibility).sight(viewer, own=own)
            assert phase.sight(viewer, own=own, at=end) == open_
    assert phase.sight(STAFF, own=False, at=before).result


@pytest.mark.parametrize(
    ("detail", "seen"),
    [
        ("overall", (0.12, None, None)),
        ("label", (0.12, 0.12, None)),
        ("target", (0.12, 0.12, 0.12)),
    ],
)
def test_how_much_a_team_sees_of_a_hidden_phase_is_the_phases_choice(detail, seen):
    sight = make_phase(visibility="own", detail=detail, digits=2).sight(PERSON, own=True)
    score = 0.123456
    assert (sight.number(score), sight.of_label(score), sight.of_target(score)) == seen
    assert sight.result is False
    full = make_phase(visibility="full", detail=detail, digits=2).sight(PERSON, own=True)
    assert full.of_target(score) == score


def test_a_phase_cannot_close_before_it_opens(phase):
    phase.closes = phase.opens
    with pytest.raises(IntegrityError):
        phase.save()


def test_a_truth_version_never_changes(challenge):
    truth = challenge.truths.get()
    truth.path = "elsewhere"
    with pytest.raises(TypeError, match="never changes"):
        truth.save()
    assert TruthVersion.objects.get().path != "elsewhere"
