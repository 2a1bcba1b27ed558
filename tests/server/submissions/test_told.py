"""What teams hear of their submissions, from the real check and the real scoring."""

from django.utils.timezone import now

from server.notices.models import Delivery, Notice, Receipt
from server.submissions import intake
from tests.server import entries
from tests.server.making import entered, stored


def test_a_team_hears_that_its_submission_was_scored_and_no_score(
    phase, people, work, packed, mailoutbox
):
    lab = entries.team("Lab", people.ada, people.bob)
    upload = stored(phase, lab, packed.read_bytes(), user=people.ada)
    row = intake.submit(upload=upload, user=people.ada, method="By hand", at=now())
    work()
    row.refresh_from_db()
    assert row.status == "scored"
    notice = Notice.objects.get()
    assert (notice.kind, notice.path) == ("scored", row.get_absolute_url())
    assert sorted(r.user.name for r in Receipt.objects.all()) == ["Ada", "Bob"]
    assert sorted(mail.to[0] for mail in mailoutbox) == ["ada@example.org", "bob@example.org"]
    overall = f"{row.evaluation.overall:.2f}"
    for mail in mailoutbox:
        assert overall not in f"{mail.subject} {mail.body}"
        assert "By hand was scored" in mail.subject
    assert {delivery.status for delivery in Delivery.objects.all()} == {"sent"}


def test_a_team_hears_why_its_file_was_rejected_and_that_it_cost_nothing(
    phase, people, work, mailoutbox
):
    entered(phase, people.ada, b"this is no zip")
    work()
    assert Notice.objects.get().kind == "rejected"
    (mail,) = mailoutbox
    assert mail.to == ["ada@example.org"]
    assert "is not a zip file" in mail.body
    assert "No quota was used" in mail.body
