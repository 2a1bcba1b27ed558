"""How much memory and time the process of a stage gets, from the size of its target."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30
BASE_MEMORY = 3 * GIB  # libraries, threads' stacks, an archive's directory, shards read whole
VOXEL_MEMORY = 32  # bytes; ten times what objects of some size take, a sixth of one per voxel
BASE_SECONDS = 120.0
VOXEL_SECONDS = 10e-6
PATIENCE = 3.0  # wall seconds per CPU second, on a machine that does other things as well


@dataclass(frozen=True, slots=True)
class Limits:
    """memory: bytes of address space.  cpu: seconds of all threads.  seconds: by the clock."""

    memory: int
    cpu: float
    seconds: float


def limits_for(voxels: int) -> Limits:
    """The limits of reading or scoring a target of so many voxels.

    They are several times what the slowest and largest of what we have seen takes: to stop what
    never ends, not to press.
    """
    cpu = BASE_SECONDS + VOXEL_SECONDS * voxels
    return Limits(BASE_MEMORY + VOXEL_MEMORY * voxels, cpu, PATIENCE * cpu)
