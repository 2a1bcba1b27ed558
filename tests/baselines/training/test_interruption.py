import os
import signal
import threading

import pytest

from baselines.training.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_and_a_second_one_obeyed(tmp_path, number):
    def obeyed(*_):
        raise RuntimeError("obeyed")

    before = signal.signal(number, obeyed)
    try:
        with Interruption(tmp_path / "STOP") as interruption:
            assert not interruption.wanted
            os.kill(os.getpid(), number)
            assert interruption.wanted
            assert interruption.reason == number.name
            with pytest.raises(RuntimeError, match="obeyed"):
                os.kill(os.getpid(), number)
        assert signal.getsignal(number) is obeyed
    finally:
        signal.signal(number, before)


def test_handlers_are_put_back_without_a_signal(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with Interruption(tmp_path / "STOP"):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_file_named_stop_asks_once(tmp_path):
    stop = tmp_path / "STOP"
    with Interruption(stop) as interruption:
        stop.touch()
        assert interruption.wanted
        assert not stop.exists()
        assert interruption.wanted  # it does not forget
        assert interruption.reason == "a STOP file"


def test_a_file_left_from_an_earlier_training_does_not_stop_the_next(tmp_path):
    stop = tmp_path / "STOP"
    stop.touch()
    with Interruption(stop) as interruption:
        assert not interruption.wanted


def test_beside_the_main_thread_signals_are_left_alone(tmp_path):
    seen = []

    def inside():
        with Interruption(tmp_path / "STOP"):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
