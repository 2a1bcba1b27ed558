"""One result, whatever way the same voxels come in and however many processes score them."""

import hashlib

import numpy as np
import pytest
import zarr
from numcodecs import GZip, Zlib

from evaluator import PROTOCOLS, SubmissionWriter, load_manifest, score_submission
from tests.synthetic import predict, write_challenge

V2 = {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}}
STORED = {
    "small chunks": {**V2, "chunks": (5, 11, 17)},
    "one chunk": {**V2, "chunks": (24, 48, 48)},
    "uncompressed": {**V2, "chunks": (16, 16, 16), "compressors": None},
    "zlib": {**V2, "chunks": (24, 24, 24), "compressors": Zlib(1)},
    "gzip": {**V2, "chunks": (24, 24, 24), "compressors": GZip(9)},
    "order F": {**V2, "chunks": (24, 24, 24), "order": "F"},
    "zarr v3": {"zarr_format": 3, "chunks": (13, 13, 13)},
    "sharded": {"zarr_format": 3, "chunks": (8, 8, 8), "shards": (24, 24, 24)},
}


@pytest.fixture(scope="module")
def challenge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("challenge")
    write_challenge(folder, size=48)
    return folder


@pytest.fixture(scope="module")
def arrays(challenge):
    """What is sent, in the dtypes that the writer of submissions chooses."""
    found = predict(challenge, quality=0.7)
    return {p: a.astype(np.min_scalar_type(int(a.max()))) for p, a in found.items()}


@pytest.fixture(scope="module")
def packed(challenge, arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "s.zip"
    manifest = load_manifest(challenge)
    with SubmissionWriter(path, manifest) as writer:
        for name, array in arrays.items():
            writer.write(manifest.by_path[name], array)
    return path


def digest(challenge, submission, protocol="crista-1", **settings) -> str:
    result = score_submission(
        submission,
        truth=challenge / "truth.zarr",
        manifest=load_manifest(challenge),
        protocol=PROTOCOLS[protocol],
        **settings,
    )
    return hashlib.sha256(result.to_json().encode()).hexdigest()


def write(folder, challenge, arrays, *, swapped=False, **settings):
    for target in load_manifest(challenge).targets:
        array = arrays[target.path]
        dtype = array.dtype.newbyteorder(">") if swapped else array.dtype
        stored = zarr.create_array(folder / target.path, shape=array.shape, dtype=dtype, **settings)
        stored[:] = array
        grid = target.grid
        stored.attrs.update({"voxel_size": grid.voxel_size, "translation": grid.offset})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_number_of_processes(challenge, packed, protocol):
    assert len({digest(challenge, packed, protocol, jobs=jobs) for jobs in (1, 2, 4)}) == 1


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        (protocol, name)
        for protocol in PROTOCOLS
        for name, settings in STORED.items()
        if name != "order F" and (PROTOCOLS[protocol].reads_v3 or settings["zarr_format"] == 2)
    ],
)
def test_any_chunks_compression_and_container(challenge, arrays, packed, protocol, name, tmp_path):
    write(tmp_path, challenge, arrays, **STORED[name])
    assert digest(challenge, tmp_path, protocol) == digest(challenge, packed, protocol)


def test_any_order_of_bytes_and_axes_in_memory(challenge, arrays, packed, tmp_path):
    write(tmp_path, challenge, arrays, swapped=True, **STORED["order F"])
    assert digest(challenge, tmp_path) == digest(challenge, packed)


def test_another_voxel_gives_another_digest(challenge, arrays, packed, tmp_path):
    changed = {path: array.copy() for path, array in arrays.items()}
    changed["crop1/membrane"][0, 0, 0] ^= 1
    write(tmp_path, challenge, changed, **STORED["one chunk"])
    assert digest(challenge, tmp_path) != digest(challenge, packed)
