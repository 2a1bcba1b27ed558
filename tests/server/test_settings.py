import runpy
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as shipped
from django.db import connection

FILE = Path(__file__).resolve().parents[2] / "server" / "settings.py"


@pytest.fixture
def read(monkeypatch, tmp_path):
    """The settings as they are with these variables in the environment."""

    def run(**environment: str) -> dict[str, Any]:
        for name in ("CRISTA_URL", "CRISTA_HOSTS", "CRISTA_DEBUG", "DATABASE_URL", "REDIS_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("CRISTA_HOME", str(tmp_path / "home"))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(FILE))

    return run


def test_with_nothing_set_the_site_is_closed_and_safe(read, tmp_path):
    values = read()
    assert values["DEBUG"] is False
    assert set(values["ALLOWED_HOSTS"]) == {"localhost", "127.0.0.1", "[::1]"}
    assert values["DATABASES"]["default"]["NAME"] == str(tmp_path / "home" / "db.sqlite3")
    assert values["EMAIL_BACKEND"].endswith("filebased.EmailBackend")
    assert len(values["SECRET_KEY"]) >= 50


def test_the_key_is_the_same_at_the_next_start(read):
    assert read()["SECRET_KEY"] == read()["SECRET_KEY"]
    assert read(CRISTA_SECRET_KEY="given")["SECRET_KEY"] == "given"


def test_an_https_address_makes_cookies_secure_and_opens_its_host(read):
    values = read(CRISTA_URL="https://crista.example.org/", CRISTA_HOSTS="a.example, b.example")
    assert values["SITE_URL"] == "https://crista.example.org"
    assert {"crista.example.org", "a.example", "b.example"} < set(values["ALLOWED_HOSTS"])
    assert values["CSRF_TRUSTED_ORIGINS"] == ["https://crista.example.org"]
    assert values["SESSION_COOKIE_SECURE"] is values["CSRF_COOKIE_SECURE"] is True
    assert values["SECURE_HSTS_SECONDS"] > 0


def test_without_https_no_header_of_a_stranger_is_believed(read):
    values = read(CRISTA_URL="http://localhost:8000")
    assert values["SECURE_PROXY_SSL_HEADER"] is None
    assert values["SESSION_COOKIE_SECURE"] is False


def test_postgresql_is_taken_from_its_url_without_the_options_of_sqlite(read):
    database = read(DATABASE_URL="postgres://u:p@db:5432/crista")["DATABASES"]["default"]
    assert (database["HOST"], database["NAME"]) == ("db", "crista")
    assert "OPTIONS" not in database


def test_a_mail_server_is_taken_from_its_url(read):
    values = read(CRISTA_EMAIL_URL="smtps://me%40x:p%2Fw@mail.example.org:465")
    assert (values["EMAIL_HOST"], values["EMAIL_PORT"]) == ("mail.example.org", 465)
    assert (values["EMAIL_HOST_USER"], values["EMAIL_HOST_PASSWORD"]) == ("me@x", "p/w")
    assert values["EMAIL_USE_SSL"] is True


@pytest.mark.django_db
def test_sqlite_runs_as_it_was_measured_to_bear_load():
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 20000}
    with connection.cursor() as cursor:
        for name, value in wanted.items():
            cursor.execute(f"PRAGMA {name}")
            assert cursor.fetchone()[0] == value
    assert shipped.DATABASES["default"]["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
