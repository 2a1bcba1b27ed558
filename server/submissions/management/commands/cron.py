"""`manage.py cron`: the queue's own scheduler, which has workers reconcile every minute.

`manage.py reconcile --every 60` does the same without a queue server; one of them is enough, and
both beside each other do no harm.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis.exceptions import RedisError

from server import arguments
from server.queue import CHECK, QueueMissing, make_scheduler
from server.submissions.upkeep import reconcile_now

TIMEOUT_S = 600


class Command(BaseCommand):
    help = "Ask workers to reconcile at regular intervals, until stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--every", type=arguments.whole_seconds, default=60, metavar="SECONDS")

    def handle(self, *args: Any, every: int, **options: Any) -> None:
        try:
            scheduler = make_scheduler(
                reconcile_now, queue=CHECK, every_s=every, timeout_s=TIMEOUT_S
            )
            scheduler.start()  # type: ignore[no-untyped-call]  # RQ has no types
        except (RedisError, QueueMissing) as error:
            raise CommandError(f"The queue server is away: {error}") from error
