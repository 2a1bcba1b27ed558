"""How much memory one update takes: counted on paper for any device, or measured on a GPU.

On paper, tensors lie on torch's meta device, where they have sizes but no content, so that a laptop
can plan for a large GPU within seconds.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from baselines.config import Config
from baselines.runs.checkpoint import heads_in, network_of
from baselines.runs.devices import is_out_of_memory, use_bf16
from baselines.training.augment import augment
from baselines.training.losses import loss_of
from baselines.training.sampling import Batch
from baselines.training.updates import gradients, make_optimizer, step

# Times the weights: themselves, their average, one moment or two; gradients come and go.
_HELD = {"adamw": 4, "radam": 4, "sgd": 3}


def counted(config: Config) -> int:
    """Bytes in use at the worst moment of an update on one batch.

    config: with labels, kinds and voxel size filled in.  As if all numbers were float32; what a
    library sets aside for its own work is not in it.
    """
    heads, batch = heads_in(config), empty_batch(config, torch.device("meta"))
    n, _, *space = batch.known.shape
    with torch.device("meta"):
        model = network_of(config).train()
        with Alive() as alive:
            target = torch.empty(n, heads.channels, *space)
            loss, _ = loss_of(model(batch.raw), target, torch.ones_like(target), heads, config.loss)
            torch.autograd.backward(loss)
    held = sum(part.nbytes for part in (batch.raw, batch.ids, batch.known))
    weights = sum(weight.nbytes for weight in model.parameters())
    return int(alive.peak + held + _HELD[config.training.optimizer] * weights)


def measured(config: Config, device: torch.device) -> int | None:
    """Bytes that a GPU had set aside at most during real updates; None: they did not fit."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    try:
        _update(config, device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None
    return int(torch.cuda.max_memory_reserved(device))


def empty_batch(config: Config, device: torch.device) -> Batch:
    """A batch of the size of the settings, all of it annotated, without anything in it."""
    (z, y, x), context = config.training.patch, config.model.context
    n, known = config.training.batch, (len(config.data.labels), z, y, x)
    return Batch(
        torch.zeros(n, 1, z + 2 * context, y, x, device=device),
        torch.zeros(n, *known, dtype=torch.int32, device=device),
        torch.ones(n, *known, dtype=torch.bool, device=device),
    )


def _update(config: Config, device: torch.device) -> None:
    """Two updates: the optimizer takes what it needs at the end of the first."""
    model = network_of(config).train()
    model.place(device, trains=True)
    # Held until the end, as training holds it.
    average = [value.detach().clone() for value in model.state_dict().values()]
    optimizer = make_optimizer(model, config)
    for seed in range(2):
        batch = augment(
            empty_batch(config, device), config.augment, torch.Generator().manual_seed(seed),
            config.data.voxel_size,
        )  # fmt: skip
        parts = batch.parts(config.training.accumulate)
        gradients(
            model, parts, heads_in(config), config,
            bf16=use_bf16(config.training.precision, device), counted=True,
        )  # fmt: skip
        step(optimizer, rate=1e-3, clip=config.training.clip)
    del average


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch gives it no types
    """Counts the bytes of the tensors that operations made and that are still in use.

    now: at this moment.  peak: the most at any.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return made

    def _add(self, storage: torch.UntypedStorage) -> None:
        """Count a storage once, however many tensors share it, until nobody holds it."""
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return
        self.known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size
