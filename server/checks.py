"""What can be wrong with the settings, said before it hurts: `manage.py check` and every start."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import stat
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]", "::1", "testserver"})
VERIFY = ("mandatory", "optional", "none")
HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*")


def check_settings(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """Every setting that differs between places, looked at."""
    looks = (_address, _secrets, _mail, _queue, _storage, _webhooks, _state)
    return [message for look in looks for message in look()]


def _address() -> Iterator[CheckMessage]:
    url = urlsplit(settings.SITE_URL)
    if url.scheme not in ("http", "https") or not url.hostname:
        yield Error(
            f"CRISTA_URL is {settings.SITE_URL!r}.",
            hint="Give the address people use, such as https://crista.example.org.",
            id="crista.E001",
        )
    public = set(settings.ALLOWED_HOSTS) - LOCAL
    if public and settings.DEBUG:
        yield Error(
            f"CRISTA_DEBUG is on, and the site answers to {sorted(public)}.",
            hint="Errors would show secrets to everybody. Unset CRISTA_DEBUG.",
            id="crista.E002",
        )
    if public and url.scheme == "http":
        yield Warning(
            f"The site answers to {sorted(public)} without encryption.",
            hint="Passwords and tokens can be read on the way. Set CRISTA_URL to an https address "
            "and put a server that speaks TLS in front.",
            id="crista.W003",
        )


def _secrets() -> Iterator[CheckMessage]:
    file = settings.STATE_DIR / "secret.key"
    if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        yield Error(
            f"{file} can be read by other users.", hint=f"Run: chmod 600 {file}", id="crista.E004"
        )
    if len(settings.SECRET_KEY) < 50:
        yield Error(
            "CRISTA_SECRET_KEY is shorter than 50 characters.",
            hint="Unset it to have one made and kept, or give a longer one.",
            id="crista.E005",
        )


def _mail() -> Iterator[CheckMessage]:
    verify, url = settings.ACCOUNT_EMAIL_VERIFICATION, os.environ.get("CRISTA_EMAIL_URL")
    if verify not in VERIFY:
        yield Error(
            f"CRISTA_VERIFY_EMAIL is {verify!r}.", hint=f"Use one of {VERIFY}.", id="crista.E006"
        )
    if url and urlsplit(url).scheme not in ("smtp", "smtps"):
        yield Error(
            "CRISTA_EMAIL_URL begins with neither smtp:// nor smtps://.",
            hint="Use smtps://user:password@mail.example.org:465.",
            id="crista.E007",
        )
    if verify == "mandatory" and not url:
        yield Warning(
            "People must confirm their address, and no mail server is named.",
            hint=f"Set CRISTA_EMAIL_URL; until then mails are files in {settings.EMAIL_FILE_PATH}.",
            id="crista.W008",
        )


def _queue() -> Iterator[CheckMessage]:
    if settings.REDIS_URL and urlsplit(settings.REDIS_URL).scheme not in (
        "redis", "rediss", "unix",
    ):  # fmt: skip
        yield Error(
            "REDIS_URL begins with neither redis:// nor rediss:// nor unix://.",
            hint="Use redis://:password@host:6379/0, or unset it for the embedded queue server.",
            id="crista.E009",
        )


def _storage() -> Iterator[CheckMessage]:
    if not settings.STORAGE:
        return
    url = urlsplit(settings.STORAGE)
    options = parse_qs(url.query, keep_blank_values=True)
    endpoint = urlsplit(options.get("endpoint", ["https://default"])[0])
    known = options.keys() <= {"endpoint", "region"}
    reachable = endpoint.scheme in ("http", "https") and endpoint.hostname
    if url.scheme != "s3" or not url.netloc or "@" in url.netloc or not known or not reachable:
        yield Error(
            "CRISTA_STORAGE is no address of a bucket.",  # not shown: somebody put a password in it
            hint="Use s3://bucket/prefix?endpoint=https://s3.example.org&region=eu-1, with the "
            "credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or unset it to keep files "
            "in CRISTA_HOME.",
            id="crista.E012",
        )


def _webhooks() -> Iterator[CheckMessage]:
    wrong = [entry for entry in settings.WEBHOOK_HOSTS if not _is_host_or_network(entry)]
    if wrong:
        yield Error(
            f"CRISTA_WEBHOOK_HOSTS holds what is neither a host nor a network: {wrong}.",
            hint="Give names without https:// or a port, such as hooks.example.org or "
            "*.example.org, and networks such as 10.1.0.0/16.",
            id="crista.E013",
        )


def _is_host_or_network(entry: str) -> bool:
    try:
        ipaddress.ip_network(entry)
    except ValueError:
        # Digits alone are a network that was mistyped: no host's name ends in a number.
        return bool(HOST.fullmatch(entry)) and not entry.rpartition(".")[2].isdigit()
    return True


def _state() -> Iterator[CheckMessage]:
    folder = settings.STATE_DIR
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Error(
            f"{folder} cannot be written to.",
            hint="Set CRISTA_HOME to a folder that the site's user owns.",
            id="crista.E010",
        )
        return
    free = shutil.disk_usage(folder).free
    if free < settings.UPLOAD_RESERVE_BYTES:
        yield Warning(
            f"Only {free / 2**30:.1f} GiB are free on the disk of {folder}: uploads are refused.",
            hint="Free some space, or set CRISTA_HOME to a larger disk.",
            id="crista.W011",
        )
