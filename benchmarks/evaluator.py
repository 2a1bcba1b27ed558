"""Time and memory of scoring, beside the cost of reading and beside the challenge's own code.

    python -m benchmarks.evaluator [--golden FOLDER] [--cases GLOB] [--repeat TIMES] [--no-layout]

For each volume of the recorded timings, in processes of their own: CPU seconds of decoding truth
and prediction once into memory, which nothing can do without; of scoring them under both protocols,
streamed from the files, and with verifying and hashing what was read, as the product does; peak
memory above the imports, streamed and with both arrays whole in memory.  Beside it what the
challenge's code took, as recorded ("~": its distance step was timed on some objects, scaled here to
all by their number).

Then the layout of the public manifest, all 413 targets at an eighth of their size along each axis,
with 2 jobs, and from the rates of the volumes above what the full size would take.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, label

from benchmarks.golden import GOLDEN, Cases, manifest_of
from evaluator import (
    Kind,
    Manifest,
    SubmissionWriter,
    Target,
    create_volume,
    get_protocol,
    load_manifest,
    open_volume,
    score_submission,
)
from evaluator.alignment import align
from evaluator.runner import Scorer
from evaluator.scoring import score_pair, score_planes
from evaluator.submission import open_submission

CRISTA_1 = get_protocol("crista-1")
OFFICIAL = replace(get_protocol("cellmap-2026.1"), beside="")
CELLMAP = GOLDEN.parent / "data" / "cellmap" / "test_crop_manifest.csv"
JOBS = 2


def decode(folder: Path) -> None:
    """Read truth and prediction once, each into one array."""
    for volume in _volumes(folder):
        volume.planes(0, volume.shape[0])


def official(folder: Path) -> None:
    """Score under the official protocol, from the files."""
    score_planes(_manifest(folder).targets[0], *_volumes(folder), OFFICIAL)


def sound(folder: Path) -> None:
    """Score under our protocol, from the files."""
    score_planes(_manifest(folder).targets[0], *_volumes(folder), CRISTA_1)


def product(folder: Path) -> None:
    """The same as a command or a worker does it: every entry verified, all content hashed."""
    sent, truth = folder / "submission.zip", folder / "truth.zarr"
    manifest = _manifest(folder)
    Scorer.open(sent, manifest, truth, CRISTA_1).score(manifest.targets[0])


def whole(folder: Path) -> None:
    """Score arrays that are in memory already under the official protocol."""
    target = _manifest(folder).targets[0]
    truth, pred = (volume.planes(0, volume.shape[0]) for volume in _volumes(folder))
    score_pair(target, truth, pred, OFFICIAL)


MEASURED = {rule.__name__: rule for rule in (decode, official, sound, product, whole)}


def _manifest(folder: Path) -> Manifest:
    return manifest_of(folder, json.loads((folder / "case.json").read_text()))


def _volumes(folder: Path) -> Iterator[Any]:
    manifest = _manifest(folder)
    target = manifest.targets[0]
    yield open_volume(folder / "truth.zarr" / target.path)
    sent = open_submission(folder / "submission.zip", manifest).open(target, CRISTA_1)
    assert sent is not None
    yield align(sent, target, OFFICIAL).planes


def measure(rule: str, folder: Path, *, repeat: int) -> dict[str, float]:
    """CPU and wall seconds, the least of several runs, and peak bytes above the imports."""
    command = [sys.executable, "-m", __spec__.name, "--measure", rule, str(folder)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for _ in range(repeat)
    ]
    return {name: min(run[name] for run in runs) for name in runs[0]}


def _measure_here(rule: str, folder: Path) -> dict[str, float]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, cpu, wall = _memory("VmRSS"), time.process_time(), time.perf_counter()
    MEASURED[rule](folder)
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {**seconds, "peak": _memory("VmHWM") - before}


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * float(next(line for line in lines if line.startswith(name)).split()[1])


def recorded(golden: Path, name: str) -> tuple[float, float, bool]:
    """CPU seconds and peak MiB of the challenge's code, and whether the seconds are scaled up."""
    path = golden / "results" / f"{name}.json"
    sampled = not path.is_file()
    values = json.loads((golden / "sampled" / path.name if sampled else path).read_text())
    spent, memory = values["time"]["cpu_s"], values["time"]
    for detail in values["detail"].values() if sampled else ():
        sample = detail["hausdorff_sample"]
        spent += sample["cpu_s"] * (sample["of"] / sample["sampled"] - 1)
    return spent, memory["rss_peak_mib"] - memory["rss_after_import_mib"], sampled


def time_volumes(args: argparse.Namespace) -> dict[str, float]:
    """Print a row per volume; CPU seconds per voxel of our protocol by case."""
    cases = Cases(args.golden)
    wanted = [n for n in cases.generator.CASES if n.startswith("perf_") and "_fine" not in n]
    print("CPU seconds of one core; bytes per voxel at the peak, above the imports")
    print(
        f"{'volume':14}{'decode':>8}{'cellmap':>9}{'x decode':>9}{'wall':>7}{'crista-1':>9}"
        f"{'x decode':>9}{'+ digests':>10}{'streamed B':>11}{'whole B':>8}"
        f"{'challenge':>11}{'MiB':>7}{'faster':>8}{'MiB here':>9}"
    )
    rates = {}
    with tempfile.TemporaryDirectory() as place:
        for name in (n for n in wanted if Path(n).match(args.cases)):
            folder = Path(place, name)
            voxels = cases.write(name, folder)["voxels"]
            found = {rule: measure(rule, folder, repeat=args.repeat) for rule in MEASURED}
            _print_row(name, found, voxels, recorded(args.golden, name))
            rates[name] = found["product"]["cpu"] / voxels
            shutil.rmtree(folder)
    return rates


def _print_row(
    name: str,
    found: dict[str, dict[str, float]],
    voxels: int,
    theirs: tuple[float, float, bool],
) -> None:
    limit, ours, sound = (found[rule] for rule in ("decode", "official", "sound"))
    seconds, mib, sampled = theirs
    print(
        f"{name.removeprefix('perf_'):14}{limit['cpu']:8.2f}{ours['cpu']:9.2f}"
        f"{ours['cpu'] / limit['cpu']:9.1f}{ours['wall']:7.2f}{sound['cpu']:9.2f}"
        f"{sound['cpu'] / limit['cpu']:9.1f}{found['product']['cpu']:10.2f}"
        f"{ours['peak'] / voxels:11.1f}{found['whole']['peak'] / voxels:8.1f}"
        f"{'~' if sampled else '':>2}{seconds:9.1f}{mib:7.0f}{seconds / ours['cpu']:7.0f}x"
        f"{ours['peak'] / 2**20:9.0f}",
        flush=True,
    )


def time_layout(rates: dict[str, float]) -> None:
    """Print how long all targets of the public manifest take, small and projected to full size."""
    full = load_manifest(CELLMAP)
    small = Manifest(tuple(_eighth(target) for target in full.targets))
    with tempfile.TemporaryDirectory() as place:
        truth, zipped = Path(place, "truth"), Path(place, "submission.zip")
        with SubmissionWriter(zipped, small) as writer:
            for number, target in enumerate(small.targets):
                array, pred = _phantom(target, np.random.default_rng(number))
                create_volume(truth / target.path, target.grid, array.dtype)[:] = array
                writer.write(target, pred)
        start = time.perf_counter()
        result = score_submission(zipped, truth=truth, manifest=small, protocol=CRISTA_1, jobs=JOBS)
        seconds = time.perf_counter() - start
    print(
        f"\n{len(small.targets)} targets of the public manifest at 1/8 scale, "
        f"{small.voxels / 1e6:.0f} Mvoxel, {JOBS} jobs: {seconds / 60:.2f} minutes "
        f"(overall score {result.overall:.3f})"
    )
    if rates:
        _project(full, rates)


def _project(full: Manifest, rates: dict[str, float]) -> None:
    instance = [rate for name, rate in rates.items() if "sem" not in name]
    semantic = [rate for name, rate in rates.items() if "sem" in name]
    voxels = {
        kind: sum(t.grid.voxels for t in full.targets if t.label.kind == kind) for kind in Kind
    }
    low, high = (
        sum(
            voxels[kind] * pick(found)
            for kind, found in ((Kind.INSTANCE, instance), (Kind.SEMANTIC, semantic))
            if found
        )
        / JOBS
        / 60
        for pick in (min, max)
    )
    print(
        f"full size, {full.voxels / 1e9:.1f} Gvoxel "
        f"({voxels[Kind.INSTANCE] / 1e9:.1f} of instances): {low:.0f} to {high:.0f} minutes with "
        f"{JOBS} jobs, at the least and the most CPU per voxel of the volumes above"
    )


def _eighth(target: Target) -> Target:
    z, y, x = (max(8, n // 8) for n in target.grid.shape)
    return replace(target, grid=replace(target.grid, shape=(z, y, x)))


def _phantom(target: Target, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of one target: blobs, and the same blobs a voxel away."""
    smooth = gaussian_filter(rng.standard_normal(target.grid.shape), 3, mode="wrap")
    mask = smooth > np.quantile(smooth, 0.8)
    if target.label.kind == Kind.SEMANTIC:
        truth = mask.astype(np.uint8)
    else:
        truth = label(mask)[0].astype(np.uint16)
    return truth, np.roll(truth, 1, axis=1)


def main() -> None:
    """Time the volumes, then the layout."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--golden", type=Path, default=GOLDEN)
    parser.add_argument("--cases", default="*")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--no-layout", action="store_true")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(_measure_here(args.measure[0], Path(args.measure[1]))))
        return
    rates = time_volumes(args)
    if not args.no_layout:
        time_layout(rates)


if __name__ == "__main__":
    main()
