import pytest
from django.contrib.auth.models import AnonymousUser

from server.challenges.models import ProtocolVersion
from server.leaderboard.standings import board
from server.submissions.ranking import ranked
from tests.server import entries
from tests.server.making import person

pytestmark = pytest.mark.django_db
VISITOR = AnonymousUser()


@pytest.fixture
def phase():
    return entries.phase(entries.challenge())


def rows(phase, viewer=VISITOR, label=""):
    return [
        (row.rank, row.team, row.score) for row in board(phase, viewer=viewer, label=label).rows
    ]


def test_equal_scores_share_a_rank_and_the_next_rank_is_skipped():
    assert ranked([(0.9, False), (0.8, False), (0.8, False), (0.7, False)]) == [1, 2, 2, 4]


def test_scores_that_agree_to_six_decimals_are_equal_and_those_that_agree_to_five_are_not():
    assert ranked([(0.80000041, False), (0.8, False)]) == [1, 1]
    assert ranked([(0.800004, False), (0.8, False)]) == [1, 2]


def test_a_baseline_has_no_rank_and_takes_none_from_others():
    assert ranked([(0.9, False), (0.85, True), (0.8, False)]) == [1, None, 2]
    assert ranked([]) == []


def test_the_best_submission_of_each_team_stands_on_the_board(phase):
    ada, bob = person("Ada").own_team, person("Bob").own_team
    entries.scored(phase, ada, 0.5)
    entries.scored(phase, ada, 0.7)
    entries.scored(phase, ada, 0.6)
    entries.scored(phase, bob, 0.65)
    assert rows(phase) == [(1, "Ada", 0.7), (2, "Bob", 0.65)]
    assert [row.entries for row in board(phase, viewer=VISITOR).rows] == [3, 1]


def test_of_two_equal_submissions_of_a_team_the_earlier_stands(phase):
    ada = person("Ada").own_team
    first = entries.scored(phase, ada, 0.5)
    entries.scored(phase, ada, 0.5)
    assert [row.submission for row in board(phase, viewer=VISITOR).rows] == [first.pk]


def test_the_board_of_a_label_ranks_by_that_label_alone(phase):
    entries.scored(phase, person("Ada").own_team, 0.9, mito=0.2, membrane=0.8)
    entries.scored(phase, person("Bob").own_team, 0.1, mito=0.6, membrane=0.3)
    assert rows(phase, label="mito") == [(1, "Bob", 0.6), (2, "Ada", 0.2)]
    assert rows(phase, label="membrane") == [(1, "Ada", 0.8), (2, "Bob", 0.3)]
    assert board(phase, viewer=VISITOR, label="mito").rows[0].instance is None


def test_a_team_may_be_best_by_label_with_a_submission_that_is_not_its_best_overall(phase):
    ada = person("Ada").own_team
    entries.scored(phase, ada, 0.9, mito=0.2)
    second = entries.scored(phase, ada, 0.3, mito=0.7)
    (row,) = board(phase, viewer=VISITOR, label="mito").rows
    assert (row.submission, row.score) == (second.pk, 0.7)


def test_submissions_that_are_not_scored_are_not_on_the_board(phase):
    ada = person("Ada").own_team
    for status in ("received", "rejected", "failed"):
        entries.submission(phase, ada, status=status)
    entries.evaluation(entries.submission(phase, ada), done=2)
    entries.evaluation(entries.submission(phase, ada), status="cancelled", overall=0.9)
    assert rows(phase) == []


def test_scores_of_another_phase_of_another_truth_and_of_another_protocol_do_not_count(phase):
    ada = person("Ada").own_team
    entries.scored(entries.phase(phase.challenge, "other"), ada, 0.9)
    old = entries.scored(phase, ada, 0.8)
    old.evaluation.__class__.objects.filter(submission=old).update(
        protocol=ProtocolVersion.present("cellmap-2026.1")
    )
    assert rows(phase) == []
    entries.scored(phase, ada, 0.7)
    assert rows(phase) == [(1, "Ada", 0.7)]
    phase.truth = entries.truth_version(phase.challenge, number=2)
    phase.save()
    assert rows(phase) == []


def test_the_newest_evaluation_of_a_submission_counts_even_if_it_is_worse(phase):
    entry = entries.scored(phase, person("Ada").own_team, 0.9)
    entries.evaluation(entry, status="scored", overall=0.4)
    assert rows(phase) == [(1, "Ada", 0.4)]


def test_an_evaluation_under_way_does_not_remove_the_last_score(phase):
    entry = entries.scored(phase, person("Ada").own_team, 0.9)
    entries.evaluation(entry, status="scoring")
    assert rows(phase) == [(1, "Ada", 0.9)]


def test_one_query_fetches_the_rows_however_many_there_are(phase, django_assert_num_queries):
    for number in range(12):
        entries.scored(phase, person(f"P{number}").own_team, number / 20)
    with django_assert_num_queries(1):
        assert len(board(phase, viewer=VISITOR).rows) == 12


def make_rivals(visibility):
    phase = entries.phase(entries.challenge(), visibility=visibility)
    ada, bob = person("Ada"), person("Bob")
    entries.scored(phase, ada.own_team, 0.912345, mito=0.812345, membrane=0.7)
    entries.scored(phase, bob.own_team, 0.512345, mito=0.4, membrane=0.6)
    return phase, ada, person("Organiser", is_staff=True)


def test_ranks_are_public_and_scores_ones_own_at_three_digits_in_a_ranks_phase():
    phase, ada, organiser = make_rivals("ranks")
    assert rows(phase) == [(1, "Ada", None), (2, "Bob", None)]
    assert rows(phase, ada) == [(1, "Ada", 0.912), (2, "Bob", None)]
    assert rows(phase, organiser) == [(1, "Ada", 0.912345), (2, "Bob", 0.512345)]
    assert rows(phase, ada, "mito") == [(1, "Ada", 0.812), (2, "Bob", None)]
    first, second = board(phase, viewer=ada).rows
    assert (first.instance, first.semantic) == (0.812, 0.7)
    assert (second.instance, second.semantic) == (None, None)


def test_a_team_sees_itself_without_a_rank_in_an_own_phase():
    phase, ada, organiser = make_rivals("own")
    assert rows(phase) == []
    assert rows(phase, ada) == [(None, "Ada", 0.912)]
    assert rows(phase, organiser) == [(1, "Ada", 0.912345), (2, "Bob", 0.512345)]


def test_only_organisers_see_anything_of_a_staff_phase():
    phase, ada, organiser = make_rivals("staff")
    assert rows(phase) == rows(phase, ada) == []
    assert len(rows(phase, organiser)) == 2


def test_rows_of_all_teams_of_the_viewer_are_marked_as_own(phase):
    ada = person("Ada")
    lab = entries.team("Lab", ada)
    entries.scored(phase, lab, 0.6)
    entries.scored(phase, ada.own_team, 0.5)
    entries.scored(phase, person("Bob").own_team, 0.4)
    assert [row.own for row in board(phase, viewer=ada).rows] == [True, True, False]
