"""Who holds a target, for how long, and how it is taken back from those that are gone.

A holder extends its lease while it lives.  `begun` tells one holding from the next: whoever comes
back late finds another moment there and cannot write.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, connections
from django.db.models import F, QuerySet
from django.utils.timezone import now

from server import interruption
from server.submissions.models import Blame, Item

Status = Item.Status
log = structlog.get_logger(__name__)


def holder(pid: int | None = None) -> str:
    """The name of a process (this one) that no other process ever has: machine, boot, start."""
    pid = pid or os.getpid()
    return f"{_place()} {pid} {_began(pid)}"


def is_gone(name: str) -> bool:
    """True if the named process ran on this machine and has ended; of others nobody can tell."""
    place, pid, began = name.rsplit(" ", 2) if name.count(" ") >= 2 else ("", "0", "")
    return place == _place() and _began(int(pid)) != began


def was_held_by(item: Item, pid: int) -> bool:
    """True if the process of this number on this machine, which has ended, took the target."""
    return item.worker.startswith(f"{_place()} {pid} ")


def take(item: Item, *, at: datetime) -> bool:
    """Make a waiting target this process's own.  False: somebody else was faster."""
    fields: dict[str, Any] = {
        "status": Status.SCORING, "worker": holder(), "begun": at, "changed": at, "due": None,
        "lease": until(),
    }  # fmt: skip
    rows = Item.objects.filter(pk=item.pk, status=Status.QUEUED)
    if not rows.update(attempts=F("attempts") + 1, **fields):
        return False
    item.refresh_from_db()
    return True


def held(item: Item) -> QuerySet[Item]:
    """The target's row, unless it was taken back since."""
    return Item.objects.filter(pk=item.pk, status=Status.SCORING, begun=item.begun)


def give_back(item: Item) -> bool:
    """Return a target as if it had never been taken.  False: it was taken back already."""
    fields = {"status": Status.QUEUED, "lease": None, "worker": "", "changed": now()}
    return bool(held(item).update(attempts=item.attempts - 1, **fields))


def take_back(
    item: Item, *, trouble: str, died: bool = False, blame: str = Blame.NOBODY
) -> str | None:
    """End a holding that came to nothing: the target's new status; None if that was done already.

    It waits for another attempt; or is quarantined if the process working on it died twice; or has
    failed, after its last attempt, or at once if somebody is to blame.
    trouble: what went wrong, for organisers.
    """
    deaths = item.deaths + died
    if blame or (item.attempts >= settings.ITEM_ATTEMPTS and deaths < settings.ITEM_DEATHS):
        to, blame = Status.FAILED, blame or Blame.SYSTEM
    elif deaths >= settings.ITEM_DEATHS:
        to, blame = Status.QUARANTINED, Blame.ORGANISER
    else:
        to = Status.QUEUED
    pause = timedelta(seconds=settings.ITEM_PAUSE_S * item.attempts)
    won = held(item).update(
        status=to, blame=blame, trouble=trouble, deaths=deaths, lease=None, changed=now(),
        due=now() + pause if to == Status.QUEUED and pause else None,
    )  # fmt: skip
    if won:
        log.warning("target taken back", item=item.pk, target=item.target, status=str(to),
                    attempts=item.attempts, deaths=deaths, trouble=trouble)  # fmt: skip
    return str(to) if won else None


@contextmanager
def kept(rows: QuerySet[Any], *, seconds: float) -> Iterator[None]:
    """Extend the lease of a row from a thread while the block runs, for at most so many seconds.

    rows: the row, as long as it is ours.  A holder that finds it taken back, or cancelled,
    interrupts its work.
    """
    over = threading.Event()
    deadline = time.monotonic() + seconds

    def beat() -> None:
        try:
            while time.monotonic() < deadline and not over.wait(settings.ITEM_LEASE_S / 4):
                if not _extend(rows):
                    interruption.ask()
                    return
        finally:
            connections.close_all()  # this thread's own

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def until() -> datetime:
    """When a lease that is given now ends."""
    return now() + timedelta(seconds=settings.ITEM_LEASE_S)


def _extend(rows: QuerySet[Any]) -> bool:
    """False if the row is no longer ours.  A database that is away for a moment is no reason."""
    try:
        return bool(rows.all().update(lease=until()))
    except DatabaseError as error:
        log.warning("a lease could not be extended", error=str(error))
        connections.close_all()
        return True


@cache
def _place() -> str:
    """This machine since it was started, and the space in which process numbers mean something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        space = Path("/proc/self/ns/pid").readlink().name
    except OSError:  # not Linux
        boot = space = "-"
    return f"{socket.gethostname()[:60]} {boot} {space}"


def _began(pid: int) -> str:
    """When a process began, in ticks since the machine did; "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
