import pytest
from django.contrib import admin
from django.urls import reverse
from django.utils.timezone import now

from server.accounts.models import AuditEvent, Token, User
from server.notices.models import Webhook
from server.submissions import grants
from server.submissions.models import Submission
from tests.server.making import PASSWORD, entered

MODELS = sorted(
    (model for model in admin.site._registry if model.__module__.startswith("server.")),
    key=lambda model: model._meta.label,
)


def page(model, kind: str, *arguments) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{kind}", args=arguments)


@pytest.fixture
def staff(client, people):
    client.force_login(people.staff)
    return client


@pytest.fixture
def story(phase, people, work, packed) -> Submission:
    """A scored submission, and with it a row of nearly everything."""
    Token.issue(people.ada, name="laptop", now=phase.opens)
    submission = entered(phase, people.ada, packed.read_bytes())
    work()
    grants.grant(
        team=people.ada.own_team, phase=phase, what="per_day", extra=1, reason="A test.",
        by=people.staff, at=now(),
    )  # fmt: skip
    Webhook.objects.create(url="https://hooks.example.org/")
    return submission


def test_every_list_and_every_row_has_its_page(staff, story):
    assert len(MODELS) >= 14
    for model in MODELS:
        assert staff.get(page(model, "changelist")).status_code == 200, model
        row = model.objects.first()
        assert staff.get(page(model, "change", row.pk)).status_code == 200, model


def test_participants_are_not_let_in(client, people, story):
    client.force_login(people.ada)
    for model in MODELS:
        answer = client.get(page(model, "changelist"))
        assert (answer.status_code, "login" in answer["Location"]) == (302, True)


@pytest.mark.parametrize(
    "name", ["TruthVersion", "Upload", "Submission", "Evaluation", "Item", "AuditEvent"]
)
def test_what_happened_cannot_be_edited_even_by_organisers(staff, story, name):
    (model,) = (model for model in MODELS if model.__name__ == name)
    row = model.objects.first()
    assert staff.get(page(model, "add")).status_code == 403
    assert staff.post(page(model, "change", row.pk), {}).status_code == 403
    assert staff.post(page(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert model.objects.filter(pk=row.pk).exists()


def test_no_page_shows_the_digest_of_a_token(staff, story):
    token = Token.objects.first()
    text = staff.get(page(Token, "change", token.pk)).content.decode()
    assert token.prefix in text
    assert token.digest not in text


def test_an_organiser_may_revoke_a_token(staff, story):
    token = Token.objects.first()
    staff.post(page(Token, "delete", token.pk), {"post": "yes"})
    assert not Token.objects.filter(pk=token.pk).exists()


def test_a_person_made_by_an_organiser_has_a_team_too(staff):
    fields = {"email": "new@example.org", "name": "New", "password1": PASSWORD,
              "password2": PASSWORD}  # fmt: skip
    answer = staff.post(page(User, "add"), fields)
    assert answer.status_code == 302
    assert User.objects.get(email="new@example.org").own_team.name == "New"


def test_a_changed_limit_is_written_down_with_who_changed_it(staff, people, phase):
    url = page(type(phase), "change", phase.pk)
    form = staff.get(url).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    fields = {name: value for name, value in values.items() if value is not None}
    for moment in ("opens", "closes"):
        at = fields.pop(moment)
        fields |= {f"{moment}_0": f"{at:%Y-%m-%d}", f"{moment}_1": f"{at:%H:%M:%S}"}
    assert staff.post(url, fields | {"per_day": 9}).status_code == 302
    phase.refresh_from_db()
    assert phase.per_day == 9
    event = AuditEvent.objects.filter(kind="phase").first()
    assert (event.actor, event.key) == (people.staff, "made-up/test")
    assert (event.before, event.after) == ("per_day 3", "per_day 9")


def test_an_organiser_may_cancel_what_runs_and_is_told_what_has_ended(
    staff, people, phase, queue_up
):
    running = entered(phase, people.ada, b"abc")
    ended = entered(phase, people.bob, b"abc")
    Submission.objects.filter(pk=ended.pk).update(status="scored")
    fields = {"action": "cancel", "_selected_action": [running.pk, ended.pk]}
    answer = staff.post(page(Submission, "changelist"), fields, follow=True)
    states = dict(Submission.objects.values_list("pk", "status"))
    assert states == {running.pk: "cancelled", ended.pk: "scored"}
    text = answer.content.decode()
    assert f"{running}: cancelled." in text
    assert f"{ended}: This submission is scored already" in text
    event = AuditEvent.objects.get(kind="submission", after="cancelled")
    assert event.actor == people.staff
