"""What to compute on, how precisely, and how much memory it took."""

from __future__ import annotations

import os
import resource
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.config import ConfigError

Forward = Callable[..., Any]
AHEAD = 2  # pieces of work that a GPU is given before it has done the ones before


def choose_device(name: str) -> torch.device:
    """auto: CUDA if there is one.  Raises ConfigError for a device that is not there.

    Of processes that torchrun started, each takes a GPU of its own.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device is auto, cpu or cuda, not {name}.")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "--device cuda: this machine has no usable CUDA device; take --device cpu."
        )
    if name != "cpu" and torch.cuda.is_available():
        own = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
        torch.cuda.set_device(own)
        # Patches and tiles have one size throughout: it pays to try which convolution is fastest.
        torch.backends.cudnn.benchmark = True
        return torch.device("cuda", own)
    if "OMP_NUM_THREADS" not in os.environ:
        # Half of the processors.  Threads that wait for each other spin: where something else runs
        # beside them, a second thread on two cores made these small networks five times slower.
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    return torch.device("cpu")


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: always on request, by itself only where it is fast."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        # Older GPUs emulate it, too.
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Processors without the instruction emulate it, which is slower than float32.
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def use_compile(setting: str, device: torch.device) -> bool:
    """Whether to compile the network: by itself on a GPU only, where it pays within a minute."""
    return setting == "on" or (setting == "auto" and device.type == "cuda")


def compiled(forward: Forward, setting: str, device: torch.device) -> Forward:
    """A network's forward pass, compiled if `use_compile` says so.

    Where the compiler was not asked for and does not work, say because the machine has none, the
    network runs as it is, with a warning of torch's.
    """
    if not use_compile(setting, device):
        return forward
    torch._dynamo.config.suppress_errors = setting == "auto"
    return torch.compile(forward)


class Pace:
    """Keeps a loop from running far ahead of the GPU that does its work; of a CPU it never does.

    Without it, a loop would use up its patches in a moment and then wait for the losses, and
    nobody could tell what an iteration takes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.marks: deque[torch.cuda.Event] = deque()

    def keep(self) -> None:
        """After what was begun: wait until at most AHEAD such pieces of work are not done."""
        if self.device.type == "cuda":
            self.marks.append(_marked())
            if len(self.marks) > AHEAD:
                self.marks.popleft().synchronize()


def brought(tensor: Tensor) -> Callable[[], np.ndarray]:
    """Begin to copy a tensor to the machine's memory; the function that is returned waits for it.

    The tensor must not be written to meanwhile.
    """
    there = tensor.to("cpu", non_blocking=True)  # from a GPU into pinned memory
    if tensor.device.type != "cuda":
        return there.numpy
    copied = _marked()

    def wait() -> np.ndarray:
        copied.synchronize()
        return there.numpy()

    return wait


def _marked() -> torch.cuda.Event:
    """Happens when the GPU has done all that it was given so far."""
    mark = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch has no types
    mark.record()
    return mark


def peak_memory_gb(device: torch.device) -> float:
    """The most memory that was in use: of the GPU, or of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the GPU or of the machine, is used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # Torch's own allocator on the CPU raises a plain RuntimeError.
    said = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in said or "bad_alloc" in said or "not enough memory" in said
    )
