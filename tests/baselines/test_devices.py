import pytest
import torch

from baselines.config import ConfigError
from baselines.devices import (
    choose_device,
    is_out_of_memory,
    peak_memory_gb,
    use_bf16,
    use_compile,
)

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu") == CPU
    with pytest.raises(ConfigError, match="auto, cpu or cuda"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == CPU
        with pytest.raises(ConfigError, match="no usable CUDA"):
            choose_device("cuda")


def test_precision_and_compiling_are_as_asked():
    assert use_bf16("bf16", CPU)
    assert not use_bf16("fp32", CPU)
    assert use_compile("on", CPU)
    assert not use_compile("off", torch.device("cuda"))
    assert not use_compile("auto", CPU)
    assert use_compile("auto", torch.device("cuda"))


def test_memory_that_was_used_is_told():
    assert 0.05 < peak_memory_gb(CPU) < 100


def test_memory_that_is_used_up_is_recognised_however_it_is_told():
    with pytest.raises(RuntimeError) as told:
        torch.empty(2**50, dtype=torch.float64)
    assert is_out_of_memory(told.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError("std::bad_alloc"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))
