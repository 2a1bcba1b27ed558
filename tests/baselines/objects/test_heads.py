import json

import pytest

from baselines.config import ObjectsConfig
from baselines.objects.heads import Head, affinity_offsets, heads_of
from evaluator.manifest import Kind

KINDS = {"mito": Kind.INSTANCE, "mem": Kind.SEMANTIC}
CUBE, FLAT = (8.0, 8.0, 8.0), (40.0, 4.0, 4.0)


def heads(representation, *, voxel_size=CUBE, **settings):
    config = ObjectsConfig(representation=representation, **settings)
    return heads_of(["mem", "mito", "er"], KINDS, config, voxel_size)


def test_channels_of_a_label_lie_together_and_begin_with_its_mask():
    found = heads("bcd")
    assert found.names == ("mem", "mito", "mito/contour", "mito/distance", "er")
    assert found.channels == 5
    assert found.of("mito") == slice(1, 4)
    assert found.of("er") == slice(4, 5)
    assert found.masks == (0, 1, 4)
    assert found.graded == (3,)
    with pytest.raises(KeyError):
        found.of("nuc")


def test_components_need_one_channel_and_alone_are_shrunk():
    found = heads("components", shrink={"mito": 2, "mem": 1})
    assert found.channels == 3
    assert [head.shrink for head in found] == [0, 2, 0]
    assert [head.shrink for head in heads("bcd", shrink={"mito": 2})] == [0, 0, 0]


def test_affinities_reach_the_next_voxels_first_and_then_equally_far_in_nanometres():
    found = affinity_offsets(CUBE)
    assert found[:3] == ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
    assert found[3:] == (
        (-4, 0, 0), (0, -4, 0), (0, 0, -4), (-10, 0, 0), (0, -10, 0), (0, 0, -10),
        (0, -7, -7), (0, -7, 7),
    )  # fmt: skip
    flat = affinity_offsets(FLAT)  # 4 voxels of 4 nm are less than half a section, 10 are one
    assert [o for o in flat if o[0]] == [(-1, 0, 0)]
    assert len(set(flat)) == len(flat)
    assert heads("affinity").of("mito") == slice(1, 13)  # the mask and eleven offsets


def test_a_network_of_planes_has_no_affinity_to_another_plane():
    assert all(z == 0 for z, _, _ in affinity_offsets(CUBE, planar=True))
    head = heads_of(["mito"], KINDS, ObjectsConfig(representation="bcd"), CUBE, planar=True)
    assert next(iter(head)).axes == (1, 2)


def test_a_head_survives_being_stored():
    for head in (*heads("affinity"), *heads("bcd")):
        assert Head.from_json(json.loads(json.dumps(head.to_json()))) == head


def test_names_of_channels_are_unique():
    names = heads("affinity", voxel_size=FLAT).names
    assert len(set(names)) == len(names)
    assert "mito/join-1+0+0" in names
