"""`manage.py reconcile`: put right what was lost."""

from __future__ import annotations

import time
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import close_old_connections
from django.utils.timezone import now

from server import arguments
from server.submissions.upkeep import reconcile

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Hand on what was lost, publish what is complete, delete uploads that expired."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--every", type=arguments.seconds, metavar="SECONDS", help="go on until stopped"
        )

    def handle(self, *args: Any, every: float | None = None, **options: Any) -> None:
        if every is None:
            self.stdout.write(str(reconcile(at=now())))
            return
        while True:
            close_old_connections()  # one that broke is not used again
            log.info("reconciled", result=str(reconcile(at=now())))
            time.sleep(every)
