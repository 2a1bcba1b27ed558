"""The curves of a training for TensorBoard, which is an extra."""

from __future__ import annotations

from pathlib import Path

from baselines.config import ConfigError
from baselines.runs.journal import Event, Sink, Trained, Validated


def board(folder: Path) -> Sink:
    """A sink that writes events for TensorBoard.  Raises ConfigError if it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # an extra
    except ImportError as error:
        raise ConfigError(
            "training.tensorboard needs TensorBoard: pip install 'crista[extras]'."
        ) from error
    writer = SummaryWriter(folder)

    def write(event: Event) -> None:
        if isinstance(event, Trained):
            before = event.iteration - len(event.losses)
            for number, loss in enumerate(event.losses, start=before + 1):
                writer.add_scalar("loss/training", loss, number)
            writer.add_scalar("rate", event.lr, event.iteration)
            writer.add_scalar("waited", event.waited, event.iteration)
        if isinstance(event, Validated):
            writer.add_scalar("loss/validation", event.loss, event.iteration)
        if isinstance(event, Trained | Validated):
            side = "training" if isinstance(event, Trained) else "validation"
            for label, dice in event.dice.items():
                writer.add_scalar(f"dice_{side}/{label}", dice, event.iteration)
        writer.flush()

    return write
