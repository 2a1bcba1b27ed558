"""Settings from odd environments: what they become, and the sentence that tells what is wrong."""

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from server.checks import check_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def read(monkeypatch, tmp_path):
    """The settings as they are with these variables in the environment, and no others of ours."""

    def run(**environment: str) -> dict[str, Any]:
        for name in [*os.environ]:
            if name.startswith("CRISTA_") or name in ("DATABASE_URL", "REDIS_URL"):
                monkeypatch.delenv(name)
        for name, value in {"CRISTA_HOME": str(tmp_path / "home"), **environment}.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "server" / "settings.py"))

    return run


def messages() -> list[tuple[str, str]]:
    return [(str(message.id), f"{message.msg} {message.hint}") for message in check_settings()]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", []),
        (" , ,", []),
        ("Hooks.Example.org", ["hooks.example.org"]),
        (" a.example , *.B.example,10.1.0.0/16", ["a.example", "*.b.example", "10.1.0.0/16"]),
    ],
)
def test_webhook_hosts_are_a_list_whatever_stands_between_them(read, text, hosts):
    assert read(CRISTA_WEBHOOK_HOSTS=text)["WEBHOOK_HOSTS"] == hosts


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("smtp://mail", ("mail", 25, False)),
        ("smtp://mail:587", ("mail", 587, False)),
        ("smtps://mail", ("mail", 465, True)),
        ("smtps://me:word@mail:2465", ("mail", 2465, True)),
        ("smtp://", ("localhost", 25, False)),
    ],
)
def test_a_mail_server_without_a_port_has_that_of_its_kind(read, url, place):
    values = read(CRISTA_EMAIL_URL=url)
    assert (values["EMAIL_HOST"], values["EMAIL_PORT"], values["EMAIL_USE_SSL"]) == place


@pytest.mark.parametrize("text", ["", "0", "true", "yes", "on", "2"])
def test_only_a_1_turns_debugging_on(read, text):
    assert read(CRISTA_DEBUG=text)["DEBUG"] is False


@pytest.mark.parametrize(("text", "size"), [("", 8e9), ("0.5", 5e8), ("64", 64e9)])
def test_a_large_target_is_told_in_gigabytes(read, text, size):
    assert read(CRISTA_LARGE_GB=text)["LARGE_ITEM_BYTES"] == size


@pytest.mark.parametrize("text", ["eight", "8 GB", "nan", "inf", "8,5"])
def test_what_is_no_number_of_gigabytes_is_said_at_the_start(read, text):
    with pytest.raises(ImproperlyConfigured, match="Give a number of gigabytes, such as 8"):
        read(CRISTA_LARGE_GB=text)


def test_a_command_says_it_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, capture_output=True, text=True,
        check=False,
        env=os.environ | {"CRISTA_HOME": str(tmp_path), "CRISTA_STORAGE": "s3:/bucket"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "crista.E012" in done.stderr
    assert "Traceback" not in done.stderr


def test_empty_variables_are_as_good_as_none(read, tmp_path):
    values = read(CRISTA_SECRET_KEY="", CRISTA_SCRATCH="", CRISTA_EMAIL_URL="", CRISTA_STORAGE="")
    assert len(values["SECRET_KEY"]) >= 50
    assert values["SCRATCH_DIR"] == tmp_path / "home" / "scratch"
    assert values["EMAIL_BACKEND"].endswith("filebased.EmailBackend")
    assert values["STORAGE"] == ""


def test_one_proxy_is_believed_with_https_and_none_without(read):
    assert read(CRISTA_URL="https://x.org")["REST_FRAMEWORK"]["NUM_PROXIES"] == 1
    assert read(CRISTA_URL="http://x.org")["REST_FRAMEWORK"]["NUM_PROXIES"] == 0


def test_the_state_is_not_for_everybody_on_the_machine(read, tmp_path):
    read(CRISTA_HOME=str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o007 == 0
    assert (tmp_path / "a" / "b" / "secret.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket", "s3://bucket/a/b", "s3://bucket?region=eu-1",
        "s3://bucket/p?endpoint=http://minio:9000", "s3://b?endpoint=https://s3.example.org&region=x",
    ],
)  # fmt: skip
def test_an_address_of_a_bucket_is_taken(settings, address):
    settings.STORAGE = address
    assert messages() == []


@pytest.mark.parametrize(
    "address",
    [
        "bucket", "/srv/uploads", "s3:bucket", "s3://", "s3:///prefix", "gs://bucket",
        "https://bucket.s3.example.org", "s3://key:hunter2@bucket", "s3://b?endpoint=minio:9000",
        "s3://b?endpoint=", "s3://b?endpoint=ftp://minio", "s3://b?regoin=eu-1", "s3://b?password=hunter2",
    ],
)  # fmt: skip
def test_an_address_of_no_bucket_is_named_without_its_secrets(settings, address):
    settings.STORAGE = address
    ((key, sentence),) = messages()
    assert key == "crista.E012"
    assert "s3://bucket/prefix?endpoint=https://" in sentence
    assert "AWS_SECRET_ACCESS_KEY" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    "entry",
    ["hooks.example.org", "*.example.org", "localhost", "10.1.0.0/16", "::1/128", "10.0.0.1"],
)
def test_hosts_and_networks_of_webhooks_are_taken(settings, entry):
    settings.WEBHOOK_HOSTS = [entry]
    assert messages() == []


@pytest.mark.parametrize(
    "entry",
    [
        "https://hooks.example.org", "hooks.example.org:443", "hooks.example.org/x", "*", "*.*",
        "hooks.*.org", "10.1.0.1/16", "10.1.0.0/33", "10.0.0", "a b", "user@host", "host.",
        "[ab].org",
    ],
)  # fmt: skip
def test_what_would_never_match_or_match_too_much_is_named(settings, entry):
    settings.WEBHOOK_HOSTS = ["hooks.example.org", entry]
    ((key, sentence),) = messages()
    assert key == "crista.E013"
    assert repr(entry) in sentence
    assert "hooks.example.org or *.example.org" in sentence
    assert "['hooks.example.org'" not in sentence  # the right ones are not blamed


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SITE_URL", "ftp://x.org", ["CRISTA_URL is 'ftp://x.org'", "https://crista.example.org"]),
        ("SITE_URL", "https://", ["CRISTA_URL is 'https://'"]),
        ("SITE_URL", "", ["CRISTA_URL is ''"]),
        ("SECRET_KEY", "x" * 49, ["shorter than 50", "Unset it"]),
        ("ACCOUNT_EMAIL_VERIFICATION", "Mandatory", ["'Mandatory'", "'mandatory', 'optional'"]),
        ("REDIS_URL", "127.0.0.1:6379", ["REDIS_URL", "unset it for the embedded"]),
        ("REDIS_URL", "https://:hunter2@queue", ["redis://:password@host:6379/0"]),
    ],
)
def test_the_sentence_says_what_came_and_what_to_give(settings, name, value, words):
    setattr(settings, name, value)
    ((_, sentence),) = messages()
    assert all(word in sentence for word in words)
    assert "hunter2" not in sentence


@pytest.mark.parametrize("url", ["redis://q", "rediss://:w@q:6380/1", "unix:///run/q.sock", None])
def test_every_kind_of_queue_address_is_taken(settings, url):
    settings.REDIS_URL = url
    assert messages() == []


def test_several_mistakes_are_named_at_once(settings):
    settings.SITE_URL, settings.SECRET_KEY, settings.STORAGE = "x", "y", "z"
    assert [key for key, _ in messages()] == ["crista.E001", "crista.E005", "crista.E012"]


def test_a_state_folder_that_is_gone_is_named_and_nothing_breaks(settings, tmp_path):
    settings.STATE_DIR = tmp_path / "gone"
    ((key, sentence),) = messages()
    assert key == "crista.E010"
    assert str(tmp_path / "gone") in sentence
    assert "CRISTA_HOME" in sentence


def test_a_key_that_only_its_owner_reads_is_as_it_should_be(settings, tmp_path):
    settings.STATE_DIR = tmp_path
    (tmp_path / "secret.key").write_text("x" * 60)
    (tmp_path / "secret.key").chmod(0o600)
    assert messages() == []


def test_a_secret_in_the_address_of_the_mail_server_is_not_shown(monkeypatch):
    monkeypatch.setenv("CRISTA_EMAIL_URL", "imap://me:hunter2@mail")
    ((key, sentence),) = messages()
    assert key == "crista.E007"
    assert "hunter2" not in sentence
