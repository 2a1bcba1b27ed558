"""What a phase asks for, in the words of its page: labels and crops of its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from server import scoring
from server.challenges.models import Challenge, Phase, TruthVersion

CHIPS = {"open": "ok", "upcoming": "wait", "closed": ""}
SEEN_BY = {
    "full": "Everybody sees scores and ranks.",
    "ranks": "Everybody sees ranks; scores are shown to their own team.",
    "own": "A team sees its own entries only.",
    "staff": "Scores are published by the organisers later.",
}
EMBARGO = "Organisers alone see scores until the embargo ends."


@dataclass(frozen=True, slots=True)
class PhaseCard:
    """A phase and how it stands at one moment: "open", "upcoming" or "closed".

    embargoed: organisers alone see scores at that moment, whoever does later.
    """

    phase: Phase
    state: str
    embargoed: bool = False

    @property
    def chip(self) -> str:
        """The colour of its state."""
        return CHIPS[self.state]

    @property
    def seen_by(self) -> str:
        """Who sees its scores, in a sentence."""
        return EMBARGO if self.embargoed else SEEN_BY[self.phase.visibility]


@dataclass(frozen=True, slots=True)
class ChallengeCard:
    """A challenge with its phases in order.  current: the one that matters now."""

    challenge: Challenge
    phases: tuple[PhaseCard, ...]

    @property
    def current(self) -> PhaseCard | None:
        """The first open phase, else the next to open, else the last; None without phases."""
        for state in ("open", "upcoming"):
            for card in self.phases:
                if card.state == state:
                    return card
        return self.phases[-1] if self.phases else None


@dataclass(frozen=True, slots=True)
class CropRow:
    """A crop: the grid of its first target (all labels of a crop mostly share it), its labels."""

    name: str
    dataset: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    labels: int


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label and in how many crops it is scored."""

    name: str
    kind: str
    crops: int


def phase_card(phase: Phase, at: datetime) -> PhaseCard:
    """How a phase stands."""
    embargoed = phase.embargo is not None and at < phase.embargo
    if phase.is_open(at):
        return PhaseCard(phase, "open", embargoed)
    return PhaseCard(phase, "upcoming" if at < phase.opens else "closed", embargoed)


def challenge_card(challenge: Challenge, at: datetime) -> ChallengeCard:
    """How a challenge stands."""
    return ChallengeCard(challenge, tuple(phase_card(p, at) for p in challenge.phases.all()))


def challenge_cards(challenges: Iterable[Challenge], at: datetime) -> list[ChallengeCard]:
    """The open ones first, then those to come, then the past; each group by title."""
    order = ["open", "upcoming", "closed"]
    cards = [challenge_card(challenge, at) for challenge in challenges]
    return sorted(
        cards, key=lambda card: order.index(card.current.state) if card.current else len(order)
    )


def labels_of(truth: TruthVersion) -> list[LabelRow]:
    """Labels, sorted by name."""
    items = scoring.items(truth.rules(truth.challenge.protocol))
    return [
        LabelRow(label["name"], label["kind"], sum(i.label == label["name"] for i in items))
        for label in truth.labels
    ]


def crops_of(truth: TruthVersion) -> list[CropRow]:
    """Crops, sorted by name."""
    items = scoring.items(truth.rules(truth.challenge.protocol))
    rows: dict[str, CropRow] = {}
    for item in sorted(items, key=lambda item: item.target):
        known = rows.get(item.crop)
        rows[item.crop] = CropRow(
            item.crop, item.dataset,
            known.shape if known else item.shape,
            known.voxel_size if known else item.voxel_size,
            known.labels + 1 if known else 1,
        )  # fmt: skip
    return list(rows.values())
