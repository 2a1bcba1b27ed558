"""Loss and Dice of a training as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from baselines.runs.journal import Event, Trained, Validated

Points = list[tuple[float, float]]


def draw_curves(events: Sequence[Event], folder: Path) -> None:
    """Write curves_loss.png and curves_dice.png, over epochs; empty frames for no events."""
    trained = [event for event in events if isinstance(event, Trained)]
    validated = [event for event in events if isinstance(event, Validated)]
    # Epochs of this schedule per iteration: the same for all events of a run.
    share = trained[-1].epochs / trained[-1].iterations if trained else 1.0
    draw(
        folder / "curves_loss.png", "loss",
        {
            "training": [(event.iteration * share, event.loss) for event in trained],
            "validation": [(event.iteration * share, event.loss) for event in validated],
        },
    )  # fmt: skip
    labels = list(dict.fromkeys(label for event in validated for label in event.dice))
    draw(
        folder / "curves_dice.png", "Dice",
        {
            "training": [(e.iteration * share, _mean(e.dice)) for e in trained if e.dice],
            "validation": [(event.iteration * share, event.mean) for event in validated],
        }
        | {
            label: [(e.iteration * share, e.dice[label]) for e in validated if label in e.dice]
            for label in labels[:10]
        },
        top=1.0,
    )  # fmt: skip


def draw(path: Path, name: str, curves: dict[str, Points], *, top: float | None = None) -> None:
    """Curves by their names, as PNG.  The first two are drawn strongly, others thinly."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (curve, points) in enumerate(curves.items()):
        x, y = zip(*points, strict=True) if points else ((), ())
        wide, strength = (2.0, 1.0) if number < 2 else (0.8, 0.6)
        axes.plot(x, y, label=curve, linewidth=wide, alpha=strength, marker="." * (len(x) < 3))
    axes.set(xlabel="epoch", ylabel=name)
    axes.set_ylim(bottom=0, top=top)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    figure.savefig(path, dpi=100)


def _mean(dice: dict[str, float]) -> float:
    return sum(dice.values()) / len(dice)
