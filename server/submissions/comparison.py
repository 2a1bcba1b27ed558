"""What an edition changes on a phase's board: who moves, and why.

The report is plain JSON, kept with the edition:
"before", "after": {"edition", "truth", "protocol", "evaluators"} of both boards
"causes":  [{"target" or "rule" or "evaluator", "why"}], what differs between the two
"targets": [{"target", "why", "entries"}], those whose score differs, in how many entries
"rows":    [{"team", "name", "baseline", "rank": [old, new], "score": [old, new],
             "submission": [old, new], "method", "targets", "moved"}], by new rank
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from server.challenges.models import Edition, TruthVersion
from server.submissions.models import Evaluation
from server.submissions.ranking import ranked, standing

Row = dict[str, Any]


def compare(edition: Edition) -> dict[str, Any]:
    """What publishing an edition would change on the phase's present board."""
    phase = edition.phase
    present = phase.editions.filter(state=Edition.State.PUBLISHED).first()
    old, new = list(standing(phase)), list(standing(phase, edition=edition))
    causes = list(_causes(edition, old, new))
    rows = list(_rows(old, new))
    counted = Counter(target for row in rows for target in row["targets"])
    why = {cause["target"]: cause["why"] for cause in causes if "target" in cause}
    elsewhere = ", ".join(cause["why"] for cause in causes if "target" not in cause)
    return {
        "before": _side(present.number if present else None, phase.truth, phase.protocol, old),
        "after": _side(edition.number, edition.truth, edition.protocol, new),
        "causes": causes,
        "targets": [
            {"target": target, "why": why.get(target) or elsewhere, "entries": entries}
            for target, entries in sorted(counted.items())
        ],
        "rows": rows,
    }


def changed_targets(old: TruthVersion, new: TruthVersion) -> dict[str, str]:
    """Why each target differs between two truths; nothing of those that do not."""
    found: dict[str, str] = {}
    for target in sorted({*old.digests, *new.digests}):
        before, after = old.digests.get(target), new.digests.get(target)
        if before is None:
            found[target] = f"{target} is scored now and was not before"
        elif after is None:
            found[target] = f"{target} is scored no more"
        elif before != after:
            found[target] = f"the truth of {target} changed"
    return found


def _side(number: int | None, truth: TruthVersion, protocol: Any, rows: Iterable[Any]) -> Row:
    evaluators = sorted({row.evaluator for row in rows})
    return {
        "edition": number, "truth": truth.number, "protocol": str(protocol),
        "evaluators": evaluators,
    }  # fmt: skip


def _causes(edition: Edition, old: list[Any], new: list[Any]) -> Iterator[Row]:
    """What differs between what the two boards were made under."""
    before, after = edition.phase.protocol, edition.protocol
    for target, why in changed_targets(edition.phase.truth, edition.truth).items():
        yield {"target": target, "why": why}
    if before.name != after.name:
        yield {"rule": "", "why": f"protocol {after} instead of {before}"}
    for rule in sorted({*before.rules, *after.rules}):
        was, now = before.rules.get(rule), after.rules.get(rule)
        if was != now and rule not in ("name", "summary", "beside"):
            yield {"rule": rule, "why": f"{rule}: {_short(was)} → {_short(now)}"}
    versions = [sorted({row.evaluator for row in rows}) for rows in (old, new)]
    if all(versions) and versions[0] != versions[1]:
        was, now = (" and ".join(each) for each in versions)
        yield {"evaluator": now, "why": f"evaluator {now} instead of {was}"}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _rows(old: list[Any], new: list[Any]) -> Iterator[Row]:
    """A row for each team that is on either board: by new rank, then those that are gone."""
    was, now = _placed(old), _placed(new)
    results = _targets_of([*old, *new])
    for team in [*now, *(team for team in was if team not in now)]:
        before, after = was.get(team), now.get(team)
        yield _row(before, after, results)


def _placed(rows: list[Any]) -> dict[int, tuple[Any, int | None]]:
    """Each team's evaluation and rank, best first."""
    ranks = ranked((row.score, row.submission.team.baseline) for row in rows)
    return {row.submission.team_id: (row, rank) for row, rank in zip(rows, ranks, strict=True)}


def _row(before: Any, after: Any, results: dict[int, dict[str, Any]]) -> Row:
    sides = [side or (None, None) for side in (before, after)]
    team = (after or before)[0].submission.team
    pair = [row for row, _ in sides]
    rank = [rank for _, rank in sides]
    score = [row.score if row else None for row in pair]
    return {
        "team": team.slug, "name": team.name, "baseline": team.baseline, "rank": rank,
        "score": score, "submission": [row.submission_id if row else None for row in pair],
        "method": (after or before)[0].submission.method,
        "targets": _differing(*(results[row.pk] if row else {} for row in pair)),
        "moved": rank[0] != rank[1],
    }  # fmt: skip


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Targets that have another score, sorted; those on one side alone, too."""
    if not old or not new:
        return []
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def _targets_of(rows: list[Any]) -> dict[int, dict[str, Any]]:
    """The score of each target in each result, by evaluation."""
    keys = {row.pk for row in rows}
    texts = Evaluation.objects.filter(pk__in=keys).values_list("pk", "result").iterator()
    return {key: _by_target(text) for key, text in texts}


def _by_target(result: str) -> dict[str, Any]:
    targets = json.loads(result).get("targets", []) if result else []
    return {f"{each['crop']}/{each['label']}": each for each in targets}
