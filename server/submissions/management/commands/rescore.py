"""`manage.py rescore CHALLENGE PHASE`: score a phase anew beside its board, then decide."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from server import scoring
from server.accounts.models import User
from server.challenges.editions import IN_PREPARATION, propose
from server.challenges.models import Edition, Phase, ProtocolVersion
from server.errors import Refused
from server.submissions import rescoring

LOOK_AGAIN_S = 0.5


class Command(BaseCommand):
    help = (
        "Score all submissions of a phase under another truth version or protocol, beside the "
        "board as it is; then publish the new one or discard it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("challenge")
        parser.add_argument("phase")
        parser.add_argument("--truth", type=int, metavar="N", help="propose this truth version")
        parser.add_argument("--protocol", metavar="NAME", help="propose this protocol")
        parser.add_argument("--note", default="", help="why, for the edition proposed")
        parser.add_argument("--by", metavar="E-MAIL", help="who decides, for the audit")
        parser.add_argument("--plan", action="store_true", help="show what it takes, and stop")
        parser.add_argument("--wait", action="store_true", help="wait until all have ended")
        end = parser.add_mutually_exclusive_group()
        end.add_argument("--publish", action="store_true", help="make it the board")
        end.add_argument("--discard", action="store_true", help="drop it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._act(options)
        except Refused as refusal:
            raise CommandError(refusal.sentence) from refusal

    def _act(self, options: dict[str, Any]) -> None:
        by = _person(options["by"])
        edition = _edition(options, by=by)
        self.stdout.write(
            f"{edition}: truth {edition.truth.number}, protocol {edition.protocol}, {edition.state}"
        )
        if options["discard"]:
            rescoring.discard(edition, by=by)
            self.stdout.write("Discarded. The board stays as it is.")
            return
        self._show_plan(rescoring.plan(edition))
        if options["plan"]:
            return
        rescoring.begin(edition, by=by)
        self._follow(edition, wait=options["wait"])
        if options["publish"]:
            rescoring.publish(edition, by=by)
            self.stdout.write(f"Published. {edition.phase} is under edition {edition.number} now.")
        elif edition.state == Edition.State.READY:
            self.stdout.write("Ready. Decide with --publish or --discard.")

    def _show_plan(self, plan: rescoring.Plan) -> None:
        time_ = (
            "unknown time" if plan.seconds is None else f"about {plan.seconds:.0f} s of a worker"
        )
        self.stdout.write(
            f"{plan.submissions} submissions with {plan.items} items; {plan.computed} of them have "
            f"no score for this content yet: {plan.voxels:,} voxels, {time_}."
        )

    def _follow(self, edition: Edition, *, wait: bool) -> None:
        """Wait for the end if asked to, then show how far it is, and the report."""
        while True:
            rescoring.settle(edition)
            found = rescoring.progress(edition)
            if not wait or not found.waiting:
                break
            time.sleep(LOOK_AGAIN_S)
            edition.refresh_from_db()
        self.stdout.write(f"{found}; {found.waiting} submissions wait for their score.")
        if found.broken:
            raise CommandError(
                f"{found.broken} submissions could not be scored. See their evaluations in the "
                "admin, mend the cause, and run this command again."
            )
        if edition.diff is not None and found.complete:
            self._show_report(edition.diff)

    def _show_report(self, report: dict[str, Any]) -> None:
        for cause in report["causes"]:
            self.stdout.write(f"- {cause['why']}")
        for target in report["targets"]:
            self.stdout.write(
                f"  {target['target']}: {target['entries']} entries ({target['why']})"
            )
        width = max([len(row["name"]) for row in report["rows"]] + [4])
        self.stdout.write(f"{'team':{width}}  rank     score              changed")
        for row in report["rows"]:
            rank = " → ".join("–" if rank is None else str(rank) for rank in row["rank"])
            score = " → ".join("–" if s is None else f"{s:.4f}" for s in row["score"])
            changed = ", ".join(row["targets"]) or "–"
            mark = " (moved)" if row["moved"] else ""
            self.stdout.write(f"{row['name']:{width}}  {rank:7}  {score:17}  {changed}{mark}")


def _edition(options: dict[str, Any], *, by: User | None) -> Edition:
    """The edition in preparation, or the one that the options propose."""
    rows = Phase.objects.select_related("challenge", "truth", "protocol")
    phase = rows.filter(challenge__slug=options["challenge"], slug=options["phase"]).first()
    if phase is None:
        raise CommandError(f"There is no phase {options['phase']} of {options['challenge']}.")
    if options["truth"] is None and options["protocol"] is None:
        waiting = phase.editions.filter(state__in=IN_PREPARATION).first()
        if waiting is None:
            raise CommandError(
                "No edition waits. Load a new truth with load_challenge, or name what to score "
                "under with --truth and --protocol."
            )
        return waiting
    number = phase.truth.number if options["truth"] is None else options["truth"]
    truth = phase.challenge.truths.filter(number=number).first()
    name = options["protocol"] or phase.protocol.name
    if truth is None or name not in scoring.protocols():
        raise CommandError("There is no such truth version, or no such protocol.")
    protocol = ProtocolVersion.present(name) if options["protocol"] else phase.protocol
    return propose(phase, truth=truth, protocol=protocol, by=by, note=options["note"])


def _person(email: str | None) -> User | None:
    """Raises CommandError for an e-mail nobody has."""
    if not email:
        return None
    found = User.objects.filter(email=email.lower(), is_staff=True).first()
    if found is None:
        raise CommandError(f"No organiser has the e-mail {email}.")
    return found
