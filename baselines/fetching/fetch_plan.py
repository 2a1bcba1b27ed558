"""Which files of a store are needed: levels that fit, and of raw the chunks around each crop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from baselines.box import Box
from baselines.fetching.published import Wanted
from baselines.fetching.store import Store
from baselines.layout import DataError
from baselines.volumes.levels import SAME
from baselines.volumes.presence import chunk_name
from evaluator.errors import Unreadable
from evaluator.geometry import Nanometres
from evaluator.manifest import Target
from evaluator.metadata import ArrayMeta
from evaluator.multiscale import describe_levels


@dataclass(frozen=True, slots=True)
class Choice:
    """What of each crop.  padding: voxels of raw around it, at every level that is fetched.

    voxel_size: only the level that a model with such voxels reads; empty: raw that is not finer
    than the crop's finest label, and every level of labels.  all_levels: every level of raw, too.
    """

    padding: int = 0
    voxel_size: tuple[float, ...] = ()
    all_levels: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """Chunks of one array that cover a box.

    array: its path.  kind: raw, or the label; volumes of a kind compress alike.
    """

    array: str
    kind: str
    meta: ArrayMeta
    box: Box

    @property
    def counts(self) -> tuple[range, range, range]:
        """Numbers of the chunks along (Z, Y, X)."""
        z, y, x = (
            range(start // size, -(-stop // size))
            for start, stop, size in zip(
                self.box.start, self.box.stop, self.meta.chunks, strict=True
            )
        )
        return z, y, x

    @property
    def chunks(self) -> int:
        """How many."""
        return math.prod(map(len, self.counts))

    @property
    def chunk_bytes(self) -> int:
        """Of a chunk, decoded."""
        return math.prod(self.meta.chunks) * self.meta.dtype.itemsize

    def paths(self) -> Iterator[str]:
        """Their keys in the store."""
        for position in itertools.product(*self.counts):
            yield f"{self.array}/{chunk_name(self.meta, position)}"


@dataclass(frozen=True)
class Plan:
    """Small files of metadata with their content, and chunks, each array once."""

    metadata: dict[str, bytes] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()

    def paths(self) -> list[str]:
        """Every chunk once, though crops share some; in order."""
        return list(dict.fromkeys(path for need in self.needs for path in need.paths()))


@dataclass(frozen=True)
class _Node:
    """A volume in the store: its levels, and the files that describe it."""

    path: str
    levels: list[ArrayMeta]
    files: dict[str, bytes]

    def need(self, kind: str, level: ArrayMeta, box: Box) -> Need:
        return Need(f"{self.path}/{level.folder}".rstrip("/"), kind, level, box)

    def metadata(self, chosen: Sequence[ArrayMeta]) -> dict[str, bytes]:
        """Files of the group and of the chosen levels: a level without files was not fetched."""
        others = {level.folder for level in self.levels} - {level.folder for level in chosen}
        return {
            f"{self.path}/{name}": content
            for name, content in self.files.items()
            if name.rpartition("/")[0] not in others
        }


def plan_fetch(
    store: Store, wanted: Sequence[Wanted], choice: Choice, *, parallel: int = 16
) -> Plan:
    """What to fetch for some crops.  Reads metadata only.

    Raises DataError, naming the volume, if one is missing, says no voxel size, or lies elsewhere.
    """
    paths = dict.fromkeys(path for crop in wanted for path in (crop.raw, *crop.truth))
    with ThreadPoolExecutor(parallel) as pool:
        nodes = dict(zip(paths, pool.map(lambda path: _look(store, path), paths), strict=True))
    metadata: dict[str, bytes] = {}
    needs: list[Need] = []
    for crop in wanted:
        raw = nodes[crop.raw]
        chosen = raw_levels(raw.levels, crop.targets, choice)
        metadata |= raw.metadata(chosen)
        needs += [
            raw.need("raw", level, box_at(level, crop.targets, choice.padding, where=crop.raw))
            for level in chosen
        ]
        for path, target in zip(crop.truth, crop.targets, strict=False):
            node = nodes[path]
            kept = _fitting(node.levels, choice.voxel_size) if choice.voxel_size else node.levels
            metadata |= node.metadata(kept)
            needs += [
                node.need(target.label.name, level, Box((0, 0, 0), level.shape)) for level in kept
            ]
    return Plan(metadata, tuple({(need.array, need.box): need for need in needs}.values()))


def raw_levels(
    levels: Sequence[ArrayMeta], targets: Sequence[Target], choice: Choice
) -> list[ArrayMeta]:
    """The levels of raw that a crop needs; levels, finest first, know their voxel sizes."""
    if choice.all_levels:
        return list(levels)
    if choice.voxel_size:
        return _fitting(levels, choice.voxel_size)
    finest = min((t.grid.voxel_size for t in targets), key=math.prod)
    kept = [level for level in levels if not _finer(_size(level), finest)]
    return [*_fitting(levels, finest), *(k for k in kept if k not in _fitting(levels, finest))]


def box_at(level: ArrayMeta, targets: Sequence[Target], padding: int, *, where: str) -> Box:
    """Voxels of a level that cover all targets and a padding, as far as there are any."""
    size, offset = _size(level), level.offset or (0.0, 0.0, 0.0)
    low, high = [], []
    for k in range(3):
        edges = [_extent(target, k) for target in targets]
        corner = offset[k] - size[k] / 2
        # Offsets such as 23837.13 nm are not exact in binary: a millionth of a voxel is noise.
        first = math.floor(round((min(a for a, _ in edges) - corner) / size[k], 6))
        last = math.ceil(round((max(b for _, b in edges) - corner) / size[k], 6))
        low.append(max(0, first - padding))
        high.append(min(level.shape[k], last + padding))
    box = Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    if min(box.shape) < 1:
        raise DataError(
            f"{where} ends before crop {targets[0].crop.name} begins: manifest and volume disagree "
            "about where it lies."
        )
    return box


def _extent(target: Target, axis: int) -> tuple[float, float]:
    grid = target.grid
    corner = grid.offset[axis] - grid.voxel_size[axis] / 2
    return corner, corner + grid.extent_nm[axis]


def _fitting(levels: Sequence[ArrayMeta], size: tuple[float, ...]) -> list[ArrayMeta]:
    """The coarsest level that is not coarser than asked for; if all are, the finest."""
    fine = [
        level for level in levels
        if all(a <= SAME * b for a, b in zip(_size(level), size, strict=True))
    ]  # fmt: skip
    return [max(fine, key=lambda level: math.prod(_size(level)))] if fine else list(levels[:1])


def _finer(size: Nanometres, than: Nanometres) -> bool:
    return any(a * SAME < b for a, b in zip(size, than, strict=True))


def _size(level: ArrayMeta) -> Nanometres:
    return level.voxel_size or (1.0, 1.0, 1.0)


def _look(store: Store, path: str) -> _Node:
    files: dict[str, bytes] = {}
    try:
        levels = describe_levels(_remembering(store, path, files))
    except Unreadable as error:
        raise DataError(f"{store.where}{path}: {error}") from error
    if not levels:
        raise DataError(f"{store.where}{path} is missing: the manifest names it.")
    if any(level.voxel_size is None for level in levels):
        raise DataError(f"{store.where}{path} does not say its voxel size in nm.")
    return _Node(path, levels, files)


def _remembering(store: Store, path: str, files: dict[str, bytes]) -> Callable[[str], bytes | None]:
    """Reads files below a path, and keeps what it found."""

    def read(name: str) -> bytes | None:
        content = store.read(f"{path}/{name}")
        if content is not None:
            files[name] = content
        return content

    return read
