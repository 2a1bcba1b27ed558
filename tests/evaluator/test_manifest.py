import pytest

from evaluator.errors import ManifestError
from evaluator.geometry import VoxelGrid
from evaluator.manifest import (
    Crop,
    Kind,
    Label,
    Target,
    format_labels,
    format_manifest,
    load_manifest,
    parse_labels,
    parse_manifest,
)

LABELS = """
[mito]
id = 3
kind = "instance"
contains = [1, 2]

[er]
id = 4
kind = "semantic"
"""
HEADER = "crop_name,dataset,class_label,voxel_size,translation,shape\n"
ROWS = (
    "557,jrc_ctl-id8-1,mito,[1.74;2.0;2.0],[23837.13;7599.0;35999.0],[600;600;300]\n"
    "557,jrc_ctl-id8-1,er,[1.74;2.0;2.0],[23837.13;7599.0;35999.0],[600;600;300]\n"
)
GRID = VoxelGrid((600, 600, 300), (1.74, 2.0, 2.0), (23837.13, 7599.0, 35999.0))


def test_rows_become_targets_ordered_by_path():
    manifest = parse_manifest(HEADER + ROWS, LABELS)
    assert [target.path for target in manifest.targets] == ["crop557/er", "crop557/mito"]
    mito = manifest.by_path["crop557/mito"]
    assert mito == Target(
        Crop("557", "jrc_ctl-id8-1"), Label("mito", 3, Kind.INSTANCE, (1, 2)), GRID
    )
    assert list(manifest.labels) == ["er", "mito"]
    assert list(manifest.crops) == ["crop557"]
    assert manifest.voxels == 2 * 600 * 600 * 300


def test_only_a_crop_named_by_a_number_gets_the_prefix():
    assert Crop("557", "d").folder == "crop557"
    assert Crop("vnc-hidden", "d").folder == "vnc-hidden"


def test_the_digest_ignores_order_and_spelling_but_no_content():
    digest = parse_manifest(HEADER + ROWS, LABELS).digest
    swapped = HEADER + "".join(reversed(ROWS.splitlines(keepends=True)))
    respelled = HEADER + ROWS.replace("2.0;2.0]", "2;2.00]")
    assert parse_manifest(swapped, LABELS).digest == digest
    assert parse_manifest(respelled, LABELS).digest == digest
    assert parse_manifest(HEADER + ROWS.replace("1.74", "1.75"), LABELS).digest != digest
    assert parse_manifest(HEADER + ROWS, LABELS.replace("semantic", "instance")).digest != digest
    assert parse_manifest(HEADER + ROWS.splitlines(keepends=True)[0], LABELS).digest != digest


def test_what_is_written_reads_back_equal():
    manifest = parse_manifest(HEADER + ROWS, LABELS)
    table, labels = format_manifest(manifest.targets), format_labels(manifest.labels.values())
    assert parse_manifest(table, labels) == manifest


def test_a_folder_and_its_csv_are_the_same_manifest(tmp_path):
    (tmp_path / "manifest.csv").write_text(HEADER + ROWS)
    (tmp_path / "labels.toml").write_text(LABELS)
    assert load_manifest(tmp_path) == load_manifest(tmp_path / "manifest.csv")


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "manifest.csv").write_text(HEADER + ROWS)
    with pytest.raises(ManifestError, match=r"labels\.toml is missing"):
        load_manifest(tmp_path)


def test_an_error_in_a_file_names_the_file(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"\xff\xfe")
    (tmp_path / "labels.toml").write_text(LABELS)
    with pytest.raises(ManifestError, match="not UTF-8"):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("a,b,c\n", "must name the columns crop_name, dataset"),
        (HEADER, "no targets"),
        (HEADER + ROWS + ROWS, "crop557/mito is listed twice"),
        (HEADER + ROWS.replace("er,", "golgi,"), "line 3: label 'golgi' has no table"),
        (HEADER + ROWS.replace("557,", "../557,", 1), "line 2: crop_name '../557'"),
        (HEADER + ROWS.replace("[600;600;300]", "[600;600]", 1), "line 2: expected .z;y;x."),
        (HEADER + ROWS.replace("[600;600;300]", "[600;0;300]", 1), "line 2: .*at least one voxel"),
        (HEADER + ROWS.replace("[600;600;300]", "[600;0.5;300]", 1), "line 2: .*whole voxels"),
        (HEADER + ROWS.replace("1.74", "-1.74", 1), "line 2: a voxel size is above 0"),
        (HEADER + ROWS.replace("1.74", "wide", 1), "line 2: could not convert"),
        (HEADER + "557,d,mito\n", "line 2: expected .z;y;x., got None"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(table, sentence):
    with pytest.raises(ManifestError, match=sentence):
        parse_manifest(table, LABELS)


@pytest.mark.parametrize(
    ("definitions", "sentence"),
    [
        ("[mito", "not TOML"),
        ("mito = 3", "must be a table"),
        ('["../mito"]\nid = 3\nkind = "instance"', "must be a table named with letters"),
        ('[mito]\nid = 0\nkind = "instance"', "needs an id of 1 or more; got 0"),
        ("[mito]\nid = 3", "needs kind ="),
        ('[mito]\nid = 3\nkind = "object"', "got 'object'"),
        ('[mito]\nid = 3\nkind = "instance"\ncolour = 1', "unknown keys .'colour'."),
        ('[mito]\nid = 3\nkind = "instance"\ncontains = "all"', "must be a list of ids"),
        (
            '[a]\nid = 3\nkind = "instance"\n[b]\nid = 3\nkind = "instance"',
            "b and a share the id 3",
        ),
    ],
)
def test_wrong_label_definitions_are_refused_by_name(definitions, sentence):
    with pytest.raises(ManifestError, match=sentence):
        parse_labels(definitions)


def test_the_challenges_own_manifest_of_413_targets_is_read(real_data):
    table = (real_data / "cellmap" / "test_crop_manifest.csv").read_text("utf-8")
    names = sorted({line.split(",")[2] for line in table.splitlines()[1:]})
    labels = format_labels(Label(n, i, Kind.SEMANTIC) for i, n in enumerate(names, start=1))
    manifest = parse_manifest(table, labels)
    assert len(manifest.targets) == 413
    assert len(manifest.crops) == 16
    assert len(manifest.labels) == 48
    assert round(manifest.voxels / 1e9, 1) == 87.7
