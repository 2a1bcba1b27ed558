"""The loss of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

_SIZE = (720, 420)
_LEFT, _TOP, _RIGHT, _BOTTOM = 60, 20, 700, 380


def draw_curves(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss over steps as PNG.  lines: of progress.jsonl; fewer than two make an empty frame."""
    image = Image.new("RGB", _SIZE, "white")
    pen = ImageDraw.Draw(image)
    pen.rectangle((_LEFT, _TOP, _RIGHT, _BOTTOM), outline="#888")
    if len(lines) > 1:
        steps = [line["step"] for line in lines]
        losses = [line["loss"] for line in lines]
        high, low = max(losses), min(0.0, *losses)
        span = max(high - low, 1e-9)
        points = [
            (
                _LEFT + (_RIGHT - _LEFT) * (step - steps[0]) / max(steps[-1] - steps[0], 1),
                _BOTTOM - (_BOTTOM - _TOP) * (loss - low) / span,
            )
            for step, loss in zip(steps, losses, strict=True)
        ]
        pen.line(points, fill="#0b5394", width=2)
        pen.text((6, _TOP - 4), f"{high:.3f}", fill="black")
        pen.text((6, _BOTTOM - 8), f"{low:.3f}", fill="black")
        pen.text((_LEFT, _BOTTOM + 8), f"step {steps[0]}", fill="black")
        pen.text((_RIGHT - 70, _BOTTOM + 8), f"step {steps[-1]}", fill="black")
    pen.text((_LEFT + 8, _TOP + 6), "training loss", fill="black")
    image.save(path)
