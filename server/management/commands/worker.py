"""`manage.py worker`: check and score submissions until told to stop; run one per core."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from redis.exceptions import RedisError

from server import stages
from server.queue import QUEUES, QueueMissing, make_worker
from server.submissions import upkeep

# Imported before the worker forks: a job then starts at once instead of after seconds of imports.
JOBS = (
    "server.submissions.intake", "server.submissions.items", "server.submissions.verification",
    "server.notices.delivery",
)  # fmt: skip


class Command(BaseCommand):
    help = "Take jobs from the queue; any number of workers may run, on any number of machines."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--queues", nargs="+", choices=QUEUES, default=QUEUES)
        parser.add_argument("--burst", action="store_true", help="stop when the queues are empty")

    def handle(self, *args: Any, **options: Any) -> None:
        for module in JOBS:
            import_module(module)
        try:
            worker = make_worker(tuple(options["queues"]), died=upkeep.job_died)
            upkeep.take_back_orphans()
            stages.start()  # before the first fork, so that all jobs share it
            worker.work(burst=options["burst"], logging_level="WARNING")
        except (RedisError, QueueMissing) as error:
            raise CommandError(f"The queue server is away: {error}") from error
        finally:
            stages.stop()
