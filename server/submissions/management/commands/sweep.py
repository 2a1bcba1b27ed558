"""`manage.py sweep`: put right what was lost."""

from __future__ import annotations

import time
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandParser
from django.db import OperationalError, close_old_connections
from django.utils.timezone import now
from redis.exceptions import RedisError

from server.queue import QueueMissing
from server.submissions.upkeep import sweep

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Requeue what was lost, publish what is complete, delete uploads that expired."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=int, metavar="SECONDS", help="go on until stopped")

    def handle(self, *args: Any, every: int | None = None, **options: Any) -> None:
        if every is None:
            self.stdout.write(str(sweep(at=now())))
            return
        while True:
            self.once()
            time.sleep(every)

    def once(self) -> None:
        """One sweep of many; a database or queue that is away for a while does not end them."""
        close_old_connections()
        try:
            swept = sweep(at=now())
        except (OperationalError, RedisError, QueueMissing) as error:
            log.warning("the sweep has to wait", error=str(error))
        else:
            log.info("swept", result=str(swept))
