"""What it costs to score a target in two processes of its own instead of one.

    python -m benchmarks.stages [--sizes 64,128,256] [--repeat 5]

For each size, a semantic and an instance target of that many voxels along an edge: milliseconds of
reading into blocks and of scoring them, each with the process it takes; of the same score in this
process; the ratio; and the address space of the larger of both beside the limit.  First the least
that a stage costs: one of which nothing is asked.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from evaluator import (
    Crop,
    Kind,
    Label,
    Manifest,
    SubmissionWriter,
    Target,
    VoxelGrid,
    create_volume,
    format_labels,
    format_manifest,
)
from server import scoring, stages
from server.stages import asking


def made(folder: Path, kind: Kind, edge: int) -> tuple[scoring.Rules, str, Path]:
    """A challenge of one target and a submission for it: boxes, moved by three voxels."""
    grid = VoxelGrid((edge,) * 3, (4.0,) * 3)
    target = Target(Crop("1", "made-up"), Label("mito", 1, kind), grid)
    z, y, x = (axis // 16 for axis in np.ogrid[:edge, :edge, :edge])
    truth = np.where((z + y + x) % 2, z * 10_000 + y * 100 + x + 1, 0).astype("u4")
    create_volume(folder / "truth" / target.path, grid, truth.dtype)[:] = truth
    with SubmissionWriter(folder / "s.zip", Manifest((target,))) as writer:
        writer.write(target, np.roll(truth, 3, axis=1))
    rules = scoring.Rules(
        format_manifest([target]), format_labels([target.label]), "crista-1", folder / "truth"
    )
    return rules, target.path, folder / "s.zip"


def least(repeat: int) -> float:
    """Milliseconds of a stage that has nothing to do."""
    with tempfile.TemporaryDirectory() as folder:
        rules, _, _ = made(Path(folder), Kind.SEMANTIC, 16)
        nothing = Path(folder) / "x.zip"
        nothing.write_bytes(b"")
        return timed(lambda: stages.check(nothing, rules, called="x.zip"), repeat)[0]


def timed(what: Callable[[], object], repeat: int) -> tuple[float, object]:
    """Milliseconds, the least of several runs, and the last value."""
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        value = what()
        taken.append(1000 * (time.perf_counter() - start))
    return min(taken), value


@contextmanager
def watched() -> Iterator[list[int]]:
    """The largest address space, bytes, that any process of a stage had in the meantime."""
    asking.start()
    nursery = asking._here.nursery
    assert nursery is not None
    place = Path(f"/proc/{nursery.process.pid}/task/{nursery.process.pid}/children")
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.002):
            for child in place.read_text().split():
                try:
                    status = Path(f"/proc/{child}/status").read_text()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if "VmPeak:" in status:
                    size = int(status.split("VmPeak:")[1].split()[0]) << 10
                    peak[0] = max(peak[0], size)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def measure(kind: Kind, edge: int, repeat: int) -> str:
    """A line of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rules, target, sent = made(folder, kind, edge)
        limits = stages.limits_for(edge**3)

        def read() -> stages.Ingested:
            with stages.scratch(folder / "scratch") as into:
                return stages.ingest(target, sent, rules, into=into)

        with stages.scratch(folder / "kept") as into:
            kept = stages.ingest(target, sent, rules, into=into)
            whole, one = timed(lambda: scoring.score_item(target, sent, rules), repeat)
            reading, _ = timed(read, repeat)
            with watched() as peak:
                read()
                scored, two = timed(lambda: stages.score(target, kept, rules), repeat)
        assert json.dumps(one) == json.dumps(two)
        ratio = (reading + scored) / whole
        return (
            f"{kind:<9} {edge:>5} {reading:>9.0f} {scored:>9.0f} {whole:>9.0f} {ratio:>7.2f} "
            f"{peak[0] >> 20:>9} {limits.memory >> 20:>9}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="64,128,256")
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    start = time.perf_counter()
    least(1)
    print(f"a nursery starts in {1000 * (time.perf_counter() - start):.0f} ms, once per worker")
    print(f"a stage takes {least(asked.repeat * 4):.0f} ms at least")
    print("kind       edge  read ms  score ms   one ms   ratio  peak MiB limit MiB")
    for edge in map(int, asked.sizes.split(",")):
        for kind in (Kind.SEMANTIC, Kind.INSTANCE):
            print(measure(kind, edge, asked.repeat), flush=True)


if __name__ == "__main__":
    main()
