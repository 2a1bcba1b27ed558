import pytest

from evaluator import (
    Crop,
    Kind,
    Label,
    ManifestError,
    Target,
    VoxelGrid,
    format_labels,
    format_manifest,
    load_manifest,
    parse_labels,
    parse_manifest,
)

HEAD = "crop_name,dataset,class_label,voxel_size,translation,shape\n"
ROW = "557,jrc,mito,[1.74;2.0;2.0],[23837.13;7599.0;35999.0],[600;500;400]\n"
LABELS = (
    '[mito]\nid = 37\nkind = "instance"\n\n[er]\nid = 5\nkind = "semantic"\ncontains = [3, 4]\n'
)


def test_a_row_becomes_a_target():
    (target,) = parse_manifest(HEAD + ROW, LABELS).targets
    assert target == Target(
        Crop("557", "jrc"),
        Label("mito", 37, Kind.INSTANCE),
        VoxelGrid((600, 500, 400), (1.74, 2.0, 2.0), (23837.13, 7599.0, 35999.0)),
    )
    assert target.path == "crop557/mito"


def test_a_crop_that_is_no_number_keeps_its_name():
    assert Crop("hidden-1", "d").folder == "hidden-1"


def test_order_and_number_format_do_not_change_the_digest():
    other = ROW.replace("mito", "er")
    a = parse_manifest(HEAD + ROW + other, LABELS)
    b = parse_manifest(HEAD + other + ROW.replace("7599.0", "7.599e3"), LABELS)
    assert a.digest == b.digest
    assert list(a.by_path) == ["crop557/er", "crop557/mito"]


@pytest.mark.parametrize(
    "change", [("600;500", "601;500"), ("1.74", "1.75"), ("jrc", "jrd"), ("557", "558")]
)
def test_every_fact_changes_the_digest(change):
    original = parse_manifest(HEAD + ROW, LABELS)
    assert parse_manifest(HEAD + ROW.replace(*change), LABELS).digest != original.digest


def test_the_kind_of_a_label_changes_the_digest():
    semantic = LABELS.replace("instance", "semantic")
    assert parse_manifest(HEAD + ROW, semantic).digest != parse_manifest(HEAD + ROW, LABELS).digest


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("crop_name\n1\n", "must name the columns"),
        (HEAD, "no targets"),
        (HEAD + ROW + ROW, "crop557/mito is listed twice"),
        (HEAD + ROW.replace("mito", "golgi"), "line 2: label 'golgi'"),
        (HEAD + ROW.replace("557", "../5"), "line 2: crop_name"),
        (HEAD + ROW.replace("[600;500;400]", "[600;500]"), "expected \\[z;y;x\\]"),
        (HEAD + ROW.replace("600", "600.5"), "whole voxels"),
        (HEAD + ROW.replace("1.74", "0"), "above 0 nm"),
        (HEAD + ROW.replace("1.74", "x"), "line 2"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(table, sentence):
    with pytest.raises(ManifestError, match=sentence):
        parse_manifest(table, LABELS)


@pytest.mark.parametrize(
    ("definitions", "sentence"),
    [
        ("[mito", "not TOML"),
        ('[37]\nid = 37\nkind = "instance"', "needs a name with a letter"),
        ('[mito]\nid = 0\nkind = "instance"', "id of 1 or more"),
        ('[mito]\nid = 1\nkind = "blob"', "semantic"),
        ('[mito]\nid = 1\nkind = "instance"\ncolour = 1', "unknown keys"),
        ('[mito]\nid = 1\nkind = "instance"\ncontains = 3', "list of ids"),
        ('[a]\nid = 1\nkind = "instance"\n[b]\nid = 1\nkind = "instance"', "share the id 1"),
        ('["a b"]\nid = 1\nkind = "instance"', "named with letters"),
    ],
)
def test_wrong_label_definitions_are_refused(definitions, sentence):
    with pytest.raises(ManifestError, match=sentence):
        parse_labels(definitions)


def test_what_is_formatted_is_read_back_equal(tmp_path):
    manifest = parse_manifest(HEAD + ROW + ROW.replace("mito", "er"), LABELS)
    (tmp_path / "manifest.csv").write_text(format_manifest(manifest.targets))
    (tmp_path / "labels.toml").write_text(format_labels(manifest.labels.values()))
    assert load_manifest(tmp_path) == manifest
    assert load_manifest(tmp_path / "manifest.csv").digest == manifest.digest


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"manifest\.csv is missing"):
        load_manifest(tmp_path)
    (tmp_path / "manifest.csv").write_text(HEAD + ROW.replace("mito", "spine"))
    with pytest.raises(ManifestError, match=r"labels\.toml is missing"):
        load_manifest(tmp_path)


def test_without_definitions_the_labels_are_those_of_cellmap(tmp_path):
    (tmp_path / "manifest.csv").write_text(HEAD + ROW + ROW.replace("mito", "er"))
    labels = load_manifest(tmp_path).labels
    assert labels["mito"] == Label("mito", 50, Kind.INSTANCE, (3, 4, 5))
    assert labels["er"] == Label("er", 51, Kind.SEMANTIC, tuple(range(16, 24)))


def test_definitions_beside_the_table_go_before_the_built_in_ones(tmp_path):
    (tmp_path / "manifest.csv").write_text(HEAD + ROW)
    (tmp_path / "labels.toml").write_text(LABELS)
    assert load_manifest(tmp_path).labels["mito"].id == 37


def test_labels_that_are_not_built_in_are_named_with_the_nearest_known_one(tmp_path):
    rows = [ROW.replace("mito", name) for name in ("mitto", "spine", "er")]
    (tmp_path / "manifest.csv").write_text(HEAD + "".join(rows))
    with pytest.raises(ManifestError) as refused:
        load_manifest(tmp_path)
    assert "'mitto' (did you mean mito?)" in str(refused.value)
    assert "'spine'" in str(refused.value)
    assert "'er'" not in str(refused.value)


def test_a_part_has_the_targets_of_the_named_labels_and_crops():
    rows = [ROW, ROW.replace("mito", "er"), ROW.replace("557", "558")]
    whole = parse_manifest(HEAD + "".join(rows), LABELS)
    assert list(whole.part(labels=["mito"]).by_path) == ["crop557/mito", "crop558/mito"]
    assert list(whole.part(crops=["557"]).by_path) == ["crop557/er", "crop557/mito"]
    assert whole.part(crops=["crop558"]) == whole.part(crops=["558", "crop558"])
    assert whole.part() == whole
    assert whole.part(labels=["mito"]).digest != whole.digest


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"labels": ["mitto"]}, r"no label 'mitto' \(did you mean mito\?\)"),
        ({"crops": ["55"]}, r"no crop '55' \(did you mean 557\?\)"),
        ({"crops": ["x"]}, "no crop 'x'; there are: 557, crop557"),
        ({"labels": ["er"], "crops": ["558"]}, "none of these labels"),
    ],
)
def test_a_part_of_nothing_is_refused(wanted, sentence):
    rows = [ROW, ROW.replace("mito", "er"), ROW.replace("557", "558")]
    if "558" not in wanted.get("crops", ()):
        rows.pop()
    with pytest.raises(ManifestError, match=sentence):
        parse_manifest(HEAD + "".join(rows), LABELS).part(**wanted)


def test_instance_classes_replace_the_kinds_and_the_digest():
    whole = parse_manifest(HEAD + ROW + ROW.replace("mito", "er"), LABELS)
    other = whole.with_instances(["er"])
    assert {name: str(label.kind) for name, label in other.labels.items()} == {
        "er": "instance", "mito": "semantic",
    }  # fmt: skip
    assert other.digest != whole.digest
    assert whole.with_instances(["mito"]) == whole
    assert whole.with_instances(["mito", "vim", "instance"]) == whole, "no target here, yet known"
    assert {str(label.kind) for label in whole.with_instances([]).labels.values()} == {"semantic"}
    with pytest.raises(ManifestError, match="no label 'eer'"):
        whole.with_instances(["eer"])


def test_a_cell_larger_than_a_table_may_hold_is_no_traceback(tmp_path):
    (tmp_path / "manifest.csv").write_text(HEAD + "x" * 200_000)
    with pytest.raises(ManifestError, match="comma-separated"):
        load_manifest(tmp_path)


def test_a_binary_file_is_no_manifest(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "labels.toml").write_text(LABELS)
    with pytest.raises(ManifestError, match="not UTF-8"):
        load_manifest(tmp_path)


def test_the_manifests_of_the_cellmap_challenge_need_no_definitions(real_data):
    tested = load_manifest(real_data / "cellmap" / "test_crop_manifest.csv")
    assert (len(tested.targets), len(tested.crops), len(tested.labels)) == (413, 16, 48)
    trained = load_manifest(real_data / "cellmap" / "train_crop_manifest.csv")
    assert trained.labels == tested.labels
