"""The score of each target of a submission, for those who may see as much."""

from __future__ import annotations

from server import scoring
from server.submissions import evaluation
from server.submissions.models import Evaluation, Item


def target_scores(row: Evaluation) -> dict[str, float | None]:
    """By target, as if it were all that is scored; nothing of those without a score yet."""
    rules = evaluation.rules(row)
    scored = row.items.filter(status=Item.Status.SCORED, score__isnull=False)
    return {
        item.target: scoring.first_values({item.target: item.score or {}}, rules)[item.label][
            "score"
        ]
        for item in scored
    }
