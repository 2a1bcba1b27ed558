"""What organisers see of targets without a score, and how they have them tried again."""

import pytest

from server.challenges.models import TruthVersion
from server.submissions import evaluation
from server.submissions.models import Evaluation, Submission
from tests.server.making import PASSWORD, api, organising
from tests.server.taking import checked, score


@pytest.fixture
def failed(phase, people, queue_up, packed) -> Submission:
    """Its truth was away when it was scored, and is there again."""
    row = checked(phase, people.ada, packed.read_bytes())
    path = phase.truth.path
    TruthVersion.objects.update(path="/nowhere")
    score(row)
    TruthVersion.objects.update(path=path)
    submission = Submission.objects.get()
    assert submission.status == "failed"
    return submission


def test_organisers_see_what_is_in_trouble_and_why_and_nobody_else_does(failed, people):
    rows = organising(people.staff).get("/api/trouble/").data["results"]
    assert len(rows) == 6
    assert {row["submission"] for row in rows} == {failed.pk}
    assert {(row["status"], row["blame"]) for row in rows} == {("failed", "organiser")}
    assert api(people.ada).get("/api/trouble/").status_code == 403
    assert api().get("/api/trouble/").status_code == 401


def test_organisers_have_it_tried_again_and_nobody_else_may(failed, people, work):
    place = f"/api/submissions/{failed.pk}/try-again/"
    assert api(people.ada).post(place).status_code == 403
    staff = organising(people.staff)
    answer = staff.post(place)
    assert (answer.status_code, answer.data["status"]) == (200, "scoring")
    work()
    failed.refresh_from_db()
    assert failed.status == "scored"
    answer = staff.post(place)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_failed")


def test_the_admin_has_it_tried_again(failed, people, client, work):
    client.login(email=people.staff.email, password=PASSWORD)
    wish = {"action": "try_again", "_selected_action": [failed.pk], "reason": ""}
    page = client.post("/admin/submissions/submission/", wish, follow=True)
    assert "tried again." in page.content.decode()
    work()
    failed.refresh_from_db()
    assert failed.status == "scored"
    page = client.post("/admin/submissions/submission/", wish, follow=True)
    assert "only a failed one can be tried again" in page.content.decode()


def test_a_re_scoring_that_failed_is_tried_again_by_itself(phase, people, queue_up, packed, client):
    row = checked(phase, people.ada, packed.read_bytes())
    score(row)
    again = evaluation.start(
        row.submission, truth=phase.truth, protocol=phase.protocol, background=True
    )
    Evaluation.objects.filter(pk=again.pk).update(status="failed")
    again.items.filter(place=0).update(status="quarantined", deaths=2, attempts=2)
    client.login(email=people.staff.email, password=PASSWORD)
    wish = {"action": "try_again", "_selected_action": [again.pk]}
    client.post("/admin/submissions/evaluation/", wish)
    score(again)
    assert again.status == "scored"
    assert Submission.objects.get().status == "scored"
