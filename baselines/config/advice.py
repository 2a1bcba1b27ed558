"""Values that work, but that people rarely want: what a person should hear before training."""

from __future__ import annotations

from collections.abc import Iterator

from baselines.config.schema import Config

USUAL_BATCH = {2: (4, 8), 3: (1, 8)}  # volumes are larger than planes
USUAL_PATCH = (64, 256)
USUAL_LR = (1e-5, 2e-3)
SHORT = 1500  # iterations: so few learn more from larger steps than is usual
SHORT_LR = (1e-5, 5e-3)
SGD_LR = (1e-3, 1e-1)
USUAL_EPOCHS = (10, 500)


def advice(config: Config, *, processors: int = 0) -> list[str]:
    """A sentence for each setting outside of what is usual; empty: all are usual.

    processors: of this machine; 0: not known.
    """
    return [*_ranges(config), *_pairs(config), *_crowd(config.training.workers, processors)]


def _ranges(config: Config) -> Iterator[str]:
    training = config.training
    short = training.epochs == 0 and training.iterations <= SHORT
    adaptive = SHORT_LR if short else USUAL_LR
    found: list[tuple[str, float, tuple[float, float], str]] = [
        ("training.batch", training.batch, USUAL_BATCH[config.model.dims],
         "smaller ones save memory, larger ones are steadier"),
        ("training.lr", training.lr, SGD_LR if training.optimizer == "sgd" else adaptive,
         "lower ones are safer, higher ones faster but unstable"),
        *(("training.patch", size, USUAL_PATCH,
           "larger ones see more context and need more memory") for size in training.patch[1:]),
    ]  # fmt: skip
    if training.epochs:
        found.append(("training.epochs", training.epochs, USUAL_EPOCHS, "early stopping may help"))
    for key, value, (least, most), why in dict.fromkeys(found):
        if not least <= value <= most:
            yield f"{key} is {value:g}; usual are {least:g} to {most:g}: {why}."


def _pairs(config: Config) -> Iterator[str]:
    training = config.training
    if config.augment.enabled is False:
        yield "augment.enabled is off: turn off augment.orientation alone if orientation matters."
    if config.model.norm == "batch" and training.batch // training.accumulate < 4:
        yield "model.norm batch needs parts of 4 patches or more; group does not."
    saves = training.iterations / training.save_every if training.save_every else 10
    if not training.epochs and saves > 20:
        yield (
            f"training.save_every {training.save_every} makes {saves:.0f} checkpoints; 10 to 20 "
            "are enough."
        )


def _crowd(workers: int, processors: int) -> Iterator[str]:
    if processors and workers > processors:
        yield (
            f"training.workers is {workers}, and there are {processors} processors: more threads "
            "than that are slower."
        )
