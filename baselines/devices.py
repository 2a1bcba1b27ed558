"""What to compute on, how precisely, and how much memory it took."""

from __future__ import annotations

import os
import resource

import torch

from baselines.config import ConfigError


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
        return bool(torch.cuda.is_bf16_supported())
    # Processors without the instruction emulate it, which is slower than float32.
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def use_compile(setting: str, device: torch.device) -> bool:
    """Whether to compile the network: by itself on a GPU only, where it pays within a minute."""
    return setting == "on" or (setting == "auto" and device.type == "cuda")


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
