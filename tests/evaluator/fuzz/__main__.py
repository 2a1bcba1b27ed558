"""`python -m tests.evaluator.fuzz random|guided SECONDS FILE`: fuzz, and tell how it went.

random: hypothesis draws.  guided: atheris draws what leads to branches not seen before.
FILE: where a submission is written over and over.  The tally is a line of JSON on standard output.
An example that breaks a rule ends it with a traceback and a status other than 0.
"""

# ruff: noqa: E402  (what is watched must be imported first)

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import time
from collections import Counter
from pathlib import Path

import atheris

watched = ["evaluator"] if "guided" in sys.argv else ["nothing"]
with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=watched):
    import evaluator.public  # noqa: F401

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.evaluator.fuzz.mutations import hostile
from tests.evaluator.fuzz.seeds import ARRAYS, submission
from tests.evaluator.fuzz.survival import MEMORY, peak, survive
from tests.evaluator.made_zips import File, zip_of

ADDRESSES = 6 << 30  # bytes of address space, most of it for threads that never touch it


class Tally:
    """Counts examples, their ends and the memory they took."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self.found: Counter[str] = Counter()
        self.examples = 0
        for array in ARRAYS:  # what is good must pass, and takes its memory before we look
            files = submission(array).items()
            survive(path, zip_of(*(File(n.encode(), c) for n, c in files)), self.found)
        assert self.found["read"], self.found
        self.found.clear()
        self.before, self.begin = peak(), time.monotonic()

    def __call__(self, content: bytes) -> None:
        before = peak()
        survive(self.path, content, self.found)
        self.examples += 1
        used = peak() - before  # in all, the guided engine's own records grow with its examples
        assert used < MEMORY, f"{used >> 20} MiB for one example"

    @property
    def over(self) -> bool:
        return time.monotonic() - self.begin > self.seconds

    def tell(self, way: str) -> None:
        used, seconds = peak() - self.before, time.monotonic() - self.begin
        print(json.dumps({
            "way": way, "examples": self.examples, "per_second": round(self.examples / seconds),
            "peak_mib": peak() >> 20, "grown_mib": used >> 20,
            "found": dict(sorted(self.found.items())),
        }), flush=True)  # fmt: skip
        assert way == "guided" or used < MEMORY, f"{used >> 20} MiB"


class Drawn:
    """Draws of hypothesis."""

    def __init__(self, data: st.DataObject) -> None:
        self._random = data.draw(st.randoms(use_true_random=False))

    def below(self, stop: int) -> int:
        return self._random.randrange(stop)

    def bytes(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randrange(most + 1))


class Guided:
    """Draws of atheris; zeros once its bytes are used up."""

    def __init__(self, data: bytes) -> None:
        self._data = atheris.FuzzedDataProvider(data)

    def below(self, stop: int) -> int:
        return self._data.ConsumeIntInRange(0, stop - 1)

    def bytes(self, most: int) -> bytes:
        return self._data.ConsumeBytes(self._data.ConsumeIntInRange(0, most))


def at_random(tally: Tally) -> None:
    @settings(
        max_examples=100, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def batch(data: st.DataObject) -> None:
        tally(hostile(Drawn(data)))

    while not tally.over:
        batch()
    tally.tell("random")


def guided(tally: Tally) -> None:
    def one(data: bytes) -> None:
        tally(hostile(Guided(data)))
        if tally.over:
            tally.tell("guided")
            sys.stdout.flush()
            os._exit(0)  # the engine has no other end without a report of a crash

    atheris.Setup(
        [
            sys.argv[0],
            "-len_control=0",
            "-max_len=400",
            "-verbosity=0",
            f"-artifact_prefix={tally.path.parent}/",
        ],
        one,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    way, seconds, path = sys.argv[1:4]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    tally = Tally(Path(path), float(seconds))
    (guided if way == "guided" else at_random)(tally)
