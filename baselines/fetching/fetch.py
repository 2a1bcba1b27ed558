"""Training crops and raw from a store into a folder: only the chunks that are needed.

The folder mirrors the store's paths, so what reads one reads the other.  A fetch that was broken
off goes on where it was: `baselines.fetching.fetched` knows what is there, whole.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from baselines.fetching.fetch_plan import Choice, Plan, plan_fetch
from baselines.fetching.fetched import FetchedFolder
from baselines.fetching.published import Wanted, enter
from baselines.fetching.store import Store
from baselines.layout import DataError
from baselines.progress import Progress, counted

_SAMPLES = 6  # chunks of a kind read to learn how well the others are compressed
_IN_FLIGHT = 1 << 30  # bytes of decoded chunks asked for ahead
_STEPS = 20  # lines of progress


@dataclass(frozen=True, slots=True)
class Estimate:
    """files: still to fetch.  decoded: bytes of their voxels.  stored: about so many arrive."""

    files: int
    decoded: int
    stored: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """Files and bytes that arrived; absent: chunks that the store does not have: fill value."""

    files: int
    bytes: int
    absent: int


def fetch(
    store: Store, wanted: Sequence[Wanted], dest: Path, choice: Choice, *,
    parallel: int = 32, verify: bool = False, dry_run: bool = False, progress: Progress = print,
) -> Fetched:  # fmt: skip
    """Fetch crops into `dest`; says first how much it is.  dry_run: only that.

    verify: read all that was fetched before, and fetch again what is damaged.
    Raises DataError: something is missing or damaged in the store, or the disk is too small.
    """
    ledger = FetchedFolder.load(dest)
    if verify:
        _mend(ledger, progress)
    progress(f"reading the metadata of {counted(len(wanted), 'crop')}")
    plan = plan_fetch(store, wanted, choice, parallel=parallel)
    chunks = plan.paths()
    left = [path for path in chunks if not ledger.has(path)]
    estimate = estimate_bytes(store, plan, left)
    progress(
        f"to fetch: {estimate.files} of {counted(len(chunks), 'chunk')}, about "
        f"{_size(estimate.stored)} ({_size(estimate.decoded)} of voxels), into {dest}"
    )
    check_room(dest, estimate)
    if dry_run:
        return Fetched(0, 0, 0)
    for path, content in plan.metadata.items():
        if not ledger.has(path):
            ledger.keep(path, content)
    largest = max((need.chunk_bytes for need in plan.needs), default=1)
    ahead = max(1, min(2 * parallel, _IN_FLIGHT // largest))
    done = _download(store, left, ledger, ahead=ahead, progress=progress)
    for need in plan.needs:
        ledger.keep_box(need.array, need.box)
    enter(dest, wanted)
    progress(
        f"fetched {counted(done.files, 'file')}, {_size(done.bytes)}; "
        f"{counted(done.absent, 'empty chunk')}"
    )
    return done


def estimate_bytes(store: Store, plan: Plan, left: Sequence[str]) -> Estimate:
    """What the chunks `left` of a plan come to, from the sizes of a few of each kind of volume."""
    needs = {path: need for need in plan.needs for path in need.paths()}
    kinds: dict[str, list[str]] = {}
    for path in left:
        kinds.setdefault(needs[path].kind, []).append(path)
    decoded, stored = 0, 0.0
    for paths in kinds.values():
        picks = paths[:: max(4, math.ceil(len(paths) / _SAMPLES))]
        arrived = sum(len(content or b"") for _, content in store.stream(picks, ahead=_SAMPLES))
        voxels = sum(needs[path].chunk_bytes for path in paths)
        decoded += voxels
        stored += voxels * arrived / sum(needs[path].chunk_bytes for path in picks)
    return Estimate(len(left), decoded, round(stored))


def _download(
    store: Store, left: Sequence[str], ledger: FetchedFolder, *, ahead: int, progress: Progress
) -> Fetched:
    files = received = absent = 0
    step = max(1, math.ceil(len(left) / _STEPS))
    for n, (path, content) in enumerate(store.stream(left, ahead=ahead), start=1):
        ledger.keep(path, content)
        files, absent = files + (content is not None), absent + (content is None)
        received += len(content or b"")
        if n % step == 0:
            progress(f"{n} of {counted(len(left), 'chunk')}, {_size(received)}")
    return Fetched(files, received, absent)


def _mend(ledger: FetchedFolder, progress: Progress) -> None:
    damaged = ledger.damaged()
    progress(f"verified {counted(len(ledger.files), 'file')}: {len(damaged)} damaged")
    for path in damaged[:10]:
        progress(f"damaged, fetched again: {path}")
    ledger.forget(damaged)


def check_room(dest: Path, estimate: Estimate) -> None:
    """Raises DataError if the disk of `dest` cannot take what is to come."""
    place = next(folder for folder in (dest, *dest.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if estimate.stored > free:
        raise DataError(
            f"{dest} has {_size(free)} free, and about {_size(estimate.stored)} are to be fetched: "
            "take fewer crops, less padding, or one --voxel-size."
        )


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
