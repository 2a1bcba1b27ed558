"""Predictions on disk: OME-Zarr with its levels, TIFF stacks, and what they mean.

OUT/<crop>/probabilities/<label>   zarr uint8, 255 is 1.0: (Z, Y, X), or (channels, Z, Y, X)
OUT/<crop>/uncertainty/<label>     zarr uint8, 255 x twice the standard deviation of the votes
OUT/<crop>/<label>                 OME-Zarr: masks (0, 1), or ids
OUT/<crop>/<label>.tif             the same as a stack
OUT/<crop>/segmentation.tif        the id of the label that is most probable at each voxel, 0: none
OUT/<crop>/metadata.json           what was predicted, by what, and how
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr

from baselines.box import blocks_of
from baselines.runs.checkpoint import write
from baselines.volumes.ome_tiff import write_tiff
from evaluator.geometry import Shape, VoxelGrid
from evaluator.volume import create_volume

METADATA = "metadata.json"
SEGMENTATION = "segmentation.tif"
SMALLEST_LEVEL = 128  # voxels: no coarser level of a volume that is no longer than this
_SLAB_VOXELS = 2**26  # read at once for a TIFF
_BLOCK = (64, 512, 512)  # of a level, written at once


def create_stored(
    path: Path, grid: VoxelGrid, *, channels: int, chunks: Shape, about: Mapping[str, Any]
) -> zarr.Array[Any]:
    """A new array of zeros for numbers in 0 .. 1 as uint8; whatever was at the path is replaced.

    (Z, Y, X) for one channel, (channels, Z, Y, X) for several.  about: further attributes.
    """
    several = channels > 1
    array = zarr.create_array(
        path,
        shape=(channels, *grid.shape) if several else grid.shape,
        dtype=np.uint8,
        chunks=(1, *chunks) if several else chunks,
        compressors=[{"id": "zstd", "level": 1}],
        fill_value=0,
        zarr_format=2,
        overwrite=True,
        config={"write_empty_chunks": False},
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )
    lies = {"voxel_size": list(grid.voxel_size), "translation": list(grid.offset)}
    array.attrs.update({**lies, **about})
    return array


def open_stored(path: Path) -> tensorstore.TensorStore:
    """An array of `create_stored`, to be written chunk by chunk.

    What zarr's own writer does beside the compression takes several times as long as that.
    """
    spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": f"{path}/"}}
    context = tensorstore.Context({"file_io_sync": False})  # nor does the list of what is done wait
    return tensorstore.open(spec, open=True, context=context).result()


def create_result(path: Path, grid: VoxelGrid, dtype: Any) -> zarr.Array[Any]:
    """A new OME-Zarr of zeros; its finest level, to be filled before `add_levels`."""
    return create_volume(path, grid, dtype, multiscale=True)


def result_of(path: Path) -> zarr.Array[Any]:
    """The finest level of an OME-Zarr of ours."""
    return zarr.open_array(path / "s0", mode="r")


def grid_of(array: zarr.Array[Any]) -> VoxelGrid:
    """Where the voxels of an array of ours lie."""
    z, y, x = array.shape[-3:]
    about: dict[str, Any] = array.attrs.asdict()
    (size_z, size_y, size_x), (oz, oy, ox) = about["voxel_size"], about["translation"]
    return VoxelGrid((z, y, x), (size_z, size_y, size_x), (oz, oy, ox))


def add_levels(path: Path) -> None:
    """Give an OME-Zarr its coarser levels, each every second voxel of the one before.

    Ids and masks cannot be averaged.  Axes on which voxels are twice as large as on the finest wait
    until the others have caught up.
    """
    group = zarr.open_group(path, mode="r+")
    about: dict[str, Any] = group.attrs.asdict()
    grids = level_grids(grid_of(result_of(path)))
    for n, (finer, grid) in enumerate(itertools.pairwise(grids), start=1):
        source = zarr.open_array(path / f"s{n - 1}", mode="r")
        target = create_volume(path / f"s{n}", grid, source.dtype)
        step = [round(b / a) for a, b in zip(finer.voxel_size, grid.voxel_size, strict=True)]
        for box in blocks_of(grid.shape, _BLOCK):
            wide = tuple(
                slice(a * s, (b - 1) * s + 1)
                for a, b, s in zip(box.start, box.stop, step, strict=True)
            )
            found = np.asarray(source[wide])
            target[box.slices] = found[tuple(slice(None, None, s) for s in step)]
    datasets = [_dataset(f"s{n}", grid) for n, grid in enumerate(grids)]
    group.attrs["multiscales"] = [{**about["multiscales"][0], "datasets": datasets}]


def level_grids(finest: VoxelGrid) -> list[VoxelGrid]:
    """The grids of all levels, the finest first.  Voxel centres of a level are some of the finer's,
    so all have the same offset."""
    grids = [finest]
    while max(grids[-1].shape) > SMALLEST_LEVEL:
        size, shape = grids[-1].voxel_size, grids[-1].shape
        fine = min(v for v, n in zip(size, shape, strict=True) if n > 1)
        step = [2 if v < 2 * fine and n > 1 else 1 for v, n in zip(size, shape, strict=True)]
        z, y, x = (-(-n // s) for n, s in zip(shape, step, strict=True))
        size_z, size_y, size_x = (v * s for v, s in zip(size, step, strict=True))
        grids.append(VoxelGrid((z, y, x), (size_z, size_y, size_x), finest.offset))
    return grids


def planes_of(array: zarr.Array[Any]) -> Iterator[np.ndarray]:
    """Plane by plane (Y, X); a few are read together."""
    depth = _depth(array.shape)
    for z in range(0, array.shape[0], depth):
        yield from np.asarray(array[z : z + depth])


def segmentation(folder: Path, ids: Mapping[str, int], shape: Shape) -> Iterator[np.ndarray]:
    """Planes (Y, X) with the id of the label that is most probable among those that are there.

    folder: of a predicted crop.  ids: per label.  Where labels are equally probable, the first.
    """
    results = {name: result_of(folder / name) for name in ids}
    stored = {name: zarr.open_array(folder / "probabilities" / name, mode="r") for name in ids}
    dtype = np.min_scalar_type(max(ids.values()))
    depth = _depth(shape)
    for low in range(0, shape[0], depth):
        high = min(low + depth, shape[0])
        best = np.zeros((high - low, *shape[1:]), np.uint8)
        label = np.zeros(best.shape, dtype)
        for name, number in ids.items():
            there = np.asarray(results[name][low:high]) > 0
            array = stored[name]
            found = np.asarray(array[low:high] if array.ndim == 3 else array[0, low:high])
            # A label may be there at probability 0: objects have their holes filled.
            wins = there & ((found > best) | (label == 0))
            label[wins], best[wins] = number, found[wins]
        yield from label


def write_stack(result: Path, out: Path) -> None:
    """The finest level of an OME-Zarr of ours as a TIFF stack."""
    array = result_of(result)
    grid = grid_of(array)
    write_tiff(
        out, planes_of(array), shape=grid.shape, dtype=array.dtype, voxel_size=grid.voxel_size
    )


def write_segmentation(folder: Path, ids: Mapping[str, int]) -> None:
    """All labels of a predicted crop as one stack.  ids: per label."""
    grid = grid_of(result_of(folder / next(iter(ids))))
    write_tiff(
        folder / SEGMENTATION, segmentation(folder, ids, grid.shape),
        shape=grid.shape, dtype=np.min_scalar_type(max(ids.values())), voxel_size=grid.voxel_size,
    )  # fmt: skip


def write_metadata(folder: Path, content: Mapping[str, Any]) -> None:
    """Keep metadata.json of a predicted crop."""
    write(folder / METADATA, json.dumps(content, indent=1) + "\n")


def metadata_of(folder: Path) -> dict[str, Any]:
    """What metadata.json of a predicted crop says; nothing if it is not there, or damaged."""
    path = folder / METADATA
    try:
        return dict(json.loads(path.read_bytes())) if path.is_file() else {}
    except (ValueError, TypeError):
        return {}


def _depth(shape: tuple[int, ...]) -> int:
    return max(1, min(64, _SLAB_VOXELS // (shape[1] * shape[2])))


def _dataset(path: str, grid: VoxelGrid) -> dict[str, Any]:
    return {
        "path": path,
        "coordinateTransformations": [
            {"type": "scale", "scale": list(grid.voxel_size)},
            {"type": "translation", "translation": list(grid.offset)},
        ],
    }
