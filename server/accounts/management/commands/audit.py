"""`manage.py audit`: verify the record of what happened, or write it to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from server.accounts import audit
from server.accounts.records import TYPES, EventFilter, lines

FILTERS = {
    "kind": "events of this kind, such as phase, team, token, grant, submission",
    "key": "events about this one, such as demo/test",
    "actor": "events by the person with this e-mail address",
    "since": "events from this moment on, such as 2026-11-01T00:00Z",
    "until": "events before this moment",
}


class Command(BaseCommand):
    help = "Verify the record of what happened, or export it as JSON Lines or CSV."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--verify", action="store_true", help="work out the chain anew")
        parser.add_argument("--head", default="", help="a digest noted earlier, to verify against")
        parser.add_argument("--export", metavar="FILE", help="FILE.jsonl or FILE.csv; - prints")
        for name, text in FILTERS.items():
            parser.add_argument(f"--{name}", default="", help=text)

    def handle(self, *args: Any, **options: Any) -> None:
        if not (options["verify"] or options["export"]):
            raise CommandError("Say what to do: --verify, or --export FILE.")
        audit.seal()
        if options["export"]:
            self.export(options)
        if options["verify"]:
            self.verify(options["head"])

    def verify(self, head: str) -> None:
        """Print how long the chain is and where it ends; fail if it is broken."""
        found = audit.verify(head=head)
        if found.fault:
            raise CommandError(
                f"The record was tampered with: {found.fault}. {found.events} events before it are "
                "as they were sealed. Compare with the last export."
            )
        self.stdout.write(f"{found.events} events, unchanged. Head: {found.head or 'none'}")

    def export(self, options: dict[str, Any]) -> None:
        """Write the events that were asked for, in the order of the chain."""
        wish = EventFilter({name: options[name] for name in FILTERS}, queryset=audit.chain())
        if not wish.is_valid():
            mistakes = (f"--{name}: {' '.join(m)}" for name, m in wish.errors.items())
            raise CommandError(" ".join(mistakes))
        if options["export"] == "-":
            sys.stdout.writelines(lines(wish.qs, "jsonl"))
            return
        path = Path(options["export"])
        if (kind := path.suffix.removeprefix(".")) not in TYPES:
            raise CommandError(f"{path.name} must end in .jsonl or .csv.")
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines(wish.qs, kind))
