import pytest
from django.core.management import call_command

from server.checks import check_settings


def found() -> list[str]:
    return [message.id for message in check_settings()]


def test_the_settings_as_shipped_have_nothing_wrong():
    assert found() == []
    call_command("check")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SITE_URL", "crista.example.org", "crista.E001"),
        ("SECRET_KEY", "short", "crista.E005"),
        ("ACCOUNT_EMAIL_VERIFICATION", "sometimes", "crista.E006"),
        ("ACCOUNT_EMAIL_VERIFICATION", "mandatory", "crista.W008"),
        ("REDIS_URL", "http://queue", "crista.E009"),
        ("UPLOAD_RESERVE_BYTES", 2**60, "crista.W011"),
    ],
)
def test_each_wrong_setting_is_named(settings, name, value, message):
    setattr(settings, name, value)
    assert found() == [message]


def test_errors_are_not_shown_in_public(settings):
    settings.ALLOWED_HOSTS = ["crista.example.org"]
    settings.SITE_URL = "https://crista.example.org"
    settings.DEBUG = True
    assert found() == ["crista.E002"]


def test_a_public_site_without_encryption_is_warned_about(settings):
    settings.ALLOWED_HOSTS = ["crista.example.org"]
    assert found() == ["crista.W003"]


def test_a_mail_server_of_an_unknown_kind_is_named(monkeypatch):
    monkeypatch.setenv("CRISTA_EMAIL_URL", "imap://mail")
    assert found() == ["crista.E007"]


def test_a_key_others_can_read_is_named(settings, tmp_path):
    settings.STATE_DIR = tmp_path
    (tmp_path / "secret.key").write_text("x" * 60)
    (tmp_path / "secret.key").chmod(0o644)
    assert found() == ["crista.E004"]
