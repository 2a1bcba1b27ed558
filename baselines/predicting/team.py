"""Who predicts: one run, or several whose mean counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baselines.config import Config, ConfigError
from baselines.objects.decoding import Thresholds
from baselines.objects.heads import AFFINITY, Head, Heads
from baselines.objects.recipe import Recipe
from baselines.predicting.doubt import Part, Usual, usual_doubt
from baselines.predicting.predictors import MIRRORED
from baselines.runs.checkpoint import Run
from baselines.volumes.light import Light
from evaluator.digest import file_digest, json_digest
from evaluator.manifest import Kind

MOST_CUBIC = 1.1  # voxels so many times longer along one axis still count as cubes


@dataclass(frozen=True)
class Team:
    """Runs that predict the same thing, one or several.

    config: how, and what the first of them was trained with.
    """

    members: tuple[Run, ...]
    config: Config

    @property
    def heads(self) -> Heads:
        """The channels that all members put out."""
        return self.members[0].heads()

    def kind(self, label: str) -> Kind:
        """Whether a label is one of objects."""
        return Kind(self.config.trained.kinds.get(label, Kind.SEMANTIC))

    def thresholds(self, label: str) -> Thresholds:
        """From the settings, else the mean of those that the members' validation chose."""
        found = [
            Thresholds.of(self.config.objects, found=_chosen(run, label)) for run in self.members
        ]
        means = {
            name: float(np.mean([one.to_json()[name] for one in found]))
            for name in found[0].to_json()
        }
        given = self.config.prediction.thresholds
        return Thresholds(**means | ({"mask": given[label]} if label in given else {}))

    def recipe(self, head: Head) -> Recipe:
        """What makes a label of its probabilities."""
        thresholds = self.thresholds(head.label)
        return Recipe.of(self.kind(head.label), head, thresholds, self.config.objects)

    @property
    def votes(self) -> int:
        """How often each voxel is seen: by every member, every way round."""
        planes = 3 if self.config.prediction.orthoplanes else 1
        return len(self.members) * len(MIRRORED[self.config.prediction.mirror]) * planes

    @property
    def doubts(self) -> bool:
        """Whether stored arrays tell how far each vote by itself is from sure; see `doubt`."""
        settings = self.config.prediction
        return self.votes == 1 or (settings.uncertainty and not settings.orthoplanes)

    def usual(self) -> Usual | None:
        """The doubt of images like those that the members were validated on.

        That of labels is unknown if one of the members did not note it, as older ones did not.
        """
        results = [run.results() for run in self.members]
        noted = all("label_doubts" in of for of in results if of.get("doubts"))
        parts = [
            [{label: Part(**part) for label, part in image.items()} for image in of["label_doubts"]]
            for of in results if noted and "label_doubts" in of
        ]  # fmt: skip
        return usual_doubt([of.get("doubts", []) for of in results], parts)

    def lights(self) -> list[Light]:
        """Grey values of the crops that the first member learnt from."""
        stored = self.members[0].results().get("light", {})
        return [Light(light["middle"], light["spread"]) for light in stored.values()]

    def digest(self) -> str:
        """Of all that decides about a probability."""
        settings = dataclasses.asdict(self.config.prediction)
        for later in ("thresholds", "output"):
            del settings[later]
        return json_digest([[file_digest(run.weights) for run in self.members], settings])


def team_of(members: Sequence[Run], config: Config | None = None) -> Team:
    """Runs that are to predict together.  config: other settings of how to predict.

    Raises ConfigError if they do not predict the same, or the settings ask for what they cannot.
    """
    first = members[0].config()
    for run in members[1:]:
        other = run.config()
        if run.heads() != members[0].heads() or other.data.voxel_size != first.data.voxel_size:
            raise ConfigError(
                f"{run.folder} and {members[0].folder} predict different labels or voxels: an "
                "ensemble is of runs that differ in their folds or seeds alone."
            )
    team = Team(tuple(members), config or first)
    for holds, rule in _rules(team):
        if not holds:
            raise ConfigError(rule)
    return team


def _chosen(run: Run, label: str) -> dict[str, float]:
    """What a run's validation found for a label; nothing if it was not validated."""
    results = run.results()
    found = dict(results.get("objects", {}).get(label, {}))
    mask = results.get("thresholds", {}).get(label)
    return found | ({} if mask is None else {"mask": mask})


def _rules(team: Team) -> list[tuple[bool, str]]:
    """What must hold of a team and its settings, and what is said where it does not."""
    config, settings = team.config, team.config.prediction
    joins = any(head.representation == AFFINITY for head in team.heads)
    turned = settings.orthoplanes or settings.mirror != "none"
    size = config.data.voxel_size or (1.0,)
    return [
        (
            len(team.members) > 1 or settings.mirror != "none" or not settings.uncertainty,
            "prediction.uncertainty needs several votes: an ensemble, or prediction.mirror.",
        ),
        (
            not (joins and turned),
            "prediction.mirror and prediction.orthoplanes cannot be averaged over affinities, "
            "which point one way: switch both off.",
        ),
        (
            config.model.dims == 2 or not settings.orthoplanes,
            "prediction.orthoplanes is for networks that see planes: this one has model.dims 3.",
        ),
        (
            max(size) <= MOST_CUBIC * min(size) or not settings.orthoplanes,
            f"prediction.orthoplanes needs voxels as long along all axes, not {list(size)} nm.",
        ),
    ]
