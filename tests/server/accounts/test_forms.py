from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from server.accounts.models import User
from tests.server.making import PASSWORD, person

pytestmark = pytest.mark.django_db


def sign_up(**fields):
    asked = {"name": "Ada", "email": "ada@example.org", "password1": PASSWORD} | fields
    return Client().post("/accounts/signup/", asked)


def log_in(email: str, password: str = PASSWORD) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": email, "password": password})
    return client


def test_signing_up_makes_a_person_with_a_team_of_their_name():
    assert sign_up().status_code == 302
    user = User.objects.get()
    assert (user.email, user.name, user.own_team.name) == ("ada@example.org", "Ada", "Ada")
    assert not user.is_staff


def test_whoever_signed_up_is_logged_in_and_can_log_in_again_in_any_capitals():
    sign_up()
    assert log_in("ADA@example.org").get("/profile/").status_code == 200
    assert log_in("ada@example.org", "wrong").get("/profile/").status_code == 302


def test_a_name_is_needed():
    answer = sign_up(name="")
    assert answer.status_code == 200
    assert answer.context["form"].errors == {"name": ["This field is required."]}
    assert not User.objects.exists()


@pytest.mark.parametrize("password", ["12345678", "password", "ada@example.org"])
def test_a_password_that_is_easily_guessed_is_refused(password):
    answer = sign_up(password1=password)
    assert "password1" in answer.context["form"].errors
    assert not User.objects.exists()


def test_a_taken_address_makes_no_second_account():
    person("Ada")
    answer = sign_up(name="Eve", email="ADA@example.org")
    assert "email" in answer.context["form"].errors
    assert User.objects.get().name == "Ada"


def test_where_addresses_are_confirmed_nobody_learns_that_one_is_taken(settings, mails):
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    person("Ada")
    fresh, taken = sign_up(email="new@example.org"), sign_up(name="Eve")
    assert (fresh.status_code, fresh["Location"]) == (taken.status_code, taken["Location"])
    assert User.objects.get(email="ada@example.org").name == "Ada"


def test_nobody_makes_themselves_an_organiser():
    sign_up(is_staff="on", is_superuser="on")
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser) == (False, False)


@pytest.fixture
def mails(settings, tmp_path) -> Path:
    """Mails become files, as they do without a mail server."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = str(tmp_path)
    return tmp_path


def test_without_a_mail_server_a_mail_is_a_file(mails):
    person("Ada")
    Client().post("/accounts/password/reset/", {"email": "ada@example.org"})
    (mail,) = mails.iterdir()
    text = mail.read_text()
    assert f"Subject: [{settings.SITE_NAME}] " in text
    assert "/accounts/password/reset/key/" in text
