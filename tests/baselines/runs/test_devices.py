import numpy as np
import pytest
import torch

from baselines.config import ConfigError
from baselines.runs.devices import (
    Pace,
    brought,
    choose_device,
    compiled,
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


@pytest.mark.filterwarnings("default")  # torch says that it could not compile
def test_without_a_compiler_a_network_runs_as_it_is_unless_compiling_was_asked_for(monkeypatch):
    torch.compiler.reset()
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("/nonexistent/compiler",))
    monkeypatch.setattr(torch._dynamo.config, "suppress_errors", False)
    raw, gpu = torch.arange(5.0), torch.device("cuda")  # only on a GPU `auto` compiles
    assert compiled(torch.exp, "off", CPU) is torch.exp
    with pytest.raises(RuntimeError, match="compiler"):
        compiled(lambda x: x.sin() + 1, "on", CPU)(raw)
    torch.compiler.reset()
    torch.testing.assert_close(compiled(lambda x: x.cos() + 1, "auto", gpu)(raw), raw.cos() + 1)
    torch.compiler.reset()


def test_what_is_brought_from_a_device_is_what_was_there():
    numbers = torch.arange(6, dtype=torch.uint8).reshape(2, 3)
    np.testing.assert_array_equal(brought(numbers)(), [[0, 1, 2], [3, 4, 5]])


def test_nobody_waits_for_a_cpu():
    pace = Pace(CPU)
    for _ in range(10):
        pace.keep()
    assert not pace.marks


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_loop_stays_two_pieces_of_work_before_a_gpu():
    gpu = choose_device("cuda")
    pace, numbers = Pace(gpu), torch.ones(4000, 4000, device=gpu)
    for _ in range(10):
        numbers = numbers @ numbers / 4000
        pace.keep()
        assert len(pace.marks) <= 2
    assert brought(numbers)()[0, 0] == pytest.approx(1, abs=1e-2)


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
