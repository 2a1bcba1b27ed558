import numpy as np
import pytest
import tifffile

from baselines.config import DataConfig
from baselines.data.sources import open_source
from baselines.data.sources.tables import specimens_of
from baselines.layout import DataError
from evaluator.manifest import Kind
from tests.baselines.trees import TRUTH, block, pyramid, tree


def test_a_challenge_tree_is_found_with_its_crops_and_labels(tmp_path):
    tree(tmp_path, mito=block(), pm=block())
    tree(tmp_path, crop="crop12", nuc=block())
    tree(tmp_path, dataset="jrc_b", crop="crop3", mito=block())
    source = open_source(tmp_path, DataConfig())
    assert [(c.name, c.dataset, sorted(c.labels)) for c in source.crops] == [
        ("crop12", "jrc_a", ["nuc"]),
        ("crop3", "jrc_b", ["mito"]),
        ("crop7", "jrc_a", ["mito", "pm"]),
    ]
    assert source.labels == ["mito", "nuc", "pm"]
    assert source.kinds["mito"] is Kind.INSTANCE
    assert source.kinds["pm"] is Kind.SEMANTIC


def test_the_array_of_all_ids_is_never_a_label(tmp_path):
    tree(tmp_path, mito=block(), all=block(value=60))
    assert open_source(tmp_path, DataConfig()).labels == ["mito"]


def test_parts_of_insulin_granules_are_left_out_and_asking_for_them_is_an_error(tmp_path):
    tree(tmp_path, mito=block(), isg_mem=block())
    assert open_source(tmp_path, DataConfig()).labels == ["mito"]
    with pytest.raises(DataError, match=r"isg_mem.*no classes of the challenge"):
        open_source(tmp_path, DataConfig(labels=("isg_mem",)))


def test_any_template_is_followed(tmp_path):
    pyramid(tmp_path / "em" / "liver" / "box1" / "cell", {8.0: block()})
    config = DataConfig(layout="template", raw="raw/{dataset}", truth="em/{dataset}/{crop}/{label}")
    (crop,) = open_source(tmp_path, config).crops
    assert (crop.name, crop.dataset, list(crop.labels)) == ("box1", "liver", ["cell"])


def test_a_field_that_comes_twice_stands_for_one_name(tmp_path):
    tree(tmp_path, mito=block())
    wrong = tmp_path / TRUTH.format("jrc_a", "crop8", "mito").replace("jrc_a.zarr", "jrc_x.zarr")
    pyramid(wrong, {8.0: block()})
    assert [c.name for c in open_source(tmp_path, DataConfig()).crops] == ["crop7"]


def test_crops_of_one_name_in_two_datasets_are_told_apart(tmp_path):
    tree(tmp_path, dataset="a", crop="c1", mito=block())
    tree(tmp_path, dataset="b", crop="c1", mito=block())
    assert [c.name for c in open_source(tmp_path, DataConfig()).crops] == ["a-c1", "b-c1"]


def test_a_template_without_its_fields_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"data.truth needs \{crop\}"):
        open_source(tmp_path, DataConfig(layout="template", truth="{dataset}/{label}"))


def test_groups_are_told_by_the_names_of_their_labels(tmp_path):
    tree(tmp_path, mito_mem=block())
    contains = open_source(tmp_path, DataConfig()).contains
    assert contains["mito"] == ("mito_mem", "mito_lum", "mito_ribo")
    assert "pm" not in contains


def test_a_table_of_ones_own_says_what_labels_are(tmp_path):
    tree(tmp_path, blob=block())
    (tmp_path / "labels.toml").write_text('[blob]\nid = 1\nkind = "instance"\n')
    assert open_source(tmp_path, DataConfig()).kinds == {"blob": Kind.INSTANCE}


def test_specimens_are_datasets_unless_a_table_says_otherwise(tmp_path, phantom):
    tree(tmp_path, dataset="liver", crop="c1", mito=block())
    tree(tmp_path, dataset="kidney", crop="c2", mito=block())
    (tmp_path / "specimens.toml").write_text('liver = "mouse"\n')
    assert {c.dataset: c.specimen for c in open_source(tmp_path, DataConfig()).crops} == {
        "liver": "mouse", "kidney": "kidney",
    }  # fmt: skip
    (tmp_path / "specimens.toml").write_text("liver = 3\n")
    with pytest.raises(DataError, match=r"specimens.toml: liver"):
        specimens_of(tmp_path)


def pairs(root, **masks):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for k, (name, mask) in enumerate(masks.items()):
        raw = np.random.default_rng(k).integers(1, 255, mask.shape).astype(np.uint8)
        tifffile.imwrite(root / "images" / f"{name}.tif", raw, photometric="minisblack")
        tifffile.imwrite(root / "masks" / f"{name}_mask.tif", mask, photometric="minisblack")
    return root


def test_folders_of_images_and_masks_are_found(tmp_path):
    pairs(tmp_path, a=block(value=255), b=block(value=255))
    source = open_source(tmp_path, DataConfig())
    assert [c.name for c in source.crops] == ["a", "b"]
    assert source.kinds == {"class1": Kind.SEMANTIC}
    label = source.crops[0].labels["class1"]().levels[0].reader
    np.testing.assert_array_equal(label.read((0, 0, 0), label.shape), block(value=1))


def test_one_stack_and_its_labels_are_a_pair(tmp_path):
    pairs(tmp_path, a=block(value=2))
    config = DataConfig(
        images="images/a.tif", masks="masks/a_mask.tif", classes={"er": "2:semantic"}
    )
    (crop,) = open_source(tmp_path, config).crops
    assert (crop.name, list(crop.labels)) == ("a", ["er"])


def test_a_mask_of_another_shape_is_an_error_with_both_shapes(tmp_path):
    pairs(tmp_path, a=block())
    tifffile.imwrite(tmp_path / "masks" / "a_mask.tif", block((16, 16, 8)))
    (crop,) = open_source(tmp_path, DataConfig()).crops
    with pytest.raises(
        DataError, match=r"a_mask.tif has 16 slices of 16 x 8, .* a.tif 16 slices of 16 x 16"
    ):
        crop.raw()


def test_too_many_values_are_an_error_before_anything_is_learnt(tmp_path):
    mask = np.arange(16 * 16 * 16, dtype=np.uint16).reshape(16, 16, 16) % 12
    pairs(tmp_path, a=mask)
    with pytest.raises(DataError, match=r"11 classes.*data.max_classes = 10"):
        open_source(tmp_path, DataConfig())
    assert len(open_source(tmp_path, DataConfig(max_classes=11)).kinds) == 11


def test_the_value_to_ignore_is_no_class(tmp_path):
    mask = block(value=3)
    mask[0] = 255
    pairs(tmp_path, a=mask)
    assert list(open_source(tmp_path, DataConfig(ignore=255)).kinds) == ["class1"]


def test_a_mask_that_is_no_mask_is_named(tmp_path):
    pairs(tmp_path, a=block(dtype=np.float32))
    with pytest.raises(DataError, match=r"a_mask.tif: masks hold whole numbers.*float32"):
        open_source(tmp_path, DataConfig())


def test_a_folder_with_nothing_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"train.csv.*images and masks.*baselines fetch"):
        open_source(tmp_path, DataConfig())


def test_a_data_folder_of_ours_is_recognised(phantom):
    source = open_source(phantom, DataConfig())
    assert [c.name for c in source.crops] == ["phantom-train-1", "phantom-train-2"]
    assert source.kinds["cell"] is Kind.INSTANCE
