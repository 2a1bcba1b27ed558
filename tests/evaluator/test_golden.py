"""The official protocol equals the recorded results of the challenge's own code."""

import os

import pytest

from benchmarks.golden import GOLDEN, Cases, compare

CASES = Cases(GOLDEN) if GOLDEN.is_dir() else None


def test_the_recorded_results_are_there():
    if CASES is None and not os.environ.get("CI"):
        pytest.skip(f"no recorded results at {GOLDEN}; the protocol's rules were tested by hand")
    assert CASES is not None, f"{GOLDEN} is missing: the official protocol cannot be compared"
    assert len(CASES.names(small=True)) > 160


@pytest.mark.parametrize("name", CASES.names(small=True) if CASES else [])
def test_the_official_protocol_equals_the_challenges_own_code(tmp_path, name):
    assert compare(CASES, name, tmp_path / name) == []
