"""`manage.py load_challenge DIR`: create or update a challenge from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from server.challenges.bundle import BundleError, read_bundle
from server.challenges.editions import IN_PREPARATION
from server.challenges.loading import load
from server.challenges.models import Edition


class Command(BaseCommand):
    help = "Create or update a challenge from a folder with challenge.toml."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument(
            "--in-place", action="store_true",
            help="score against the truth where it lies instead of a copy; never change it then",
        )  # fmt: skip
        parser.add_argument(
            "--reread", action="store_true", help="read the truth even if no file looks changed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            bundle = read_bundle(options["folder"])
        except BundleError as error:
            raise CommandError(f"Nothing was loaded.\n{error}") from error
        challenge = load(bundle, in_place=options["in_place"], reread=options["reread"])
        truth = challenge.truths.latest("number")
        phases = ", ".join(phase.slug for phase in challenge.phases.all())
        if options["verbosity"]:
            self.stdout.write(
                f"{challenge.slug}: {len(truth.digests)} targets, truth {truth.number} "
                f"({truth.digest[:12]}), phases {phases}"
            )
        for edition in Edition.objects.filter(phase__challenge=challenge, state__in=IN_PREPARATION):
            self.stdout.write(
                f"{edition.phase.slug} has scored submissions: its board stays as it is. Edition "
                f"{edition.number} waits under truth {edition.truth.number} and protocol "
                f"{edition.protocol}. See what re-scoring would take, then run it:\n"
                f"  manage.py rescore {challenge.slug} {edition.phase.slug} --plan\n"
                f"  manage.py rescore {challenge.slug} {edition.phase.slug} --wait"
            )
