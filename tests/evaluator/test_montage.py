"""Pictures of errors: what is drawn where, in which colour."""

import numpy as np
import pytest
from PIL import Image

from evaluator import (
    EvaluatorError,
    create_volume,
    format_labels,
    format_manifest,
    get_protocol,
    load_manifest,
)
from evaluator.results.explain import Explanation, explain
from evaluator.results.montage import (
    ALONE,
    BOTH,
    CYCLE,
    FALSE,
    GROUND,
    LEGEND,
    MISSED,
    OTHER,
    PANEL,
    draw,
    save,
    spots,
)
from evaluator.results.narration import sheets, summary, write_explanation
from evaluator.runner import Scorer
from tests.evaluator.shapes import boxes, target

SHAPE = (16, 16, 16)


@pytest.fixture
def told(tmp_path):
    """told(truth, pred) -> the explanation of a target."""

    def explained(truth, pred, *, kind="instance", voxel_size=(1.0, 1.0, 1.0)) -> Explanation:
        asked = target(kind, truth.shape, voxel_size)
        (tmp_path / "manifest.csv").write_text(format_manifest([asked]))
        (tmp_path / "labels.toml").write_text(format_labels([asked.label]))
        for name, array in (("truth", truth), ("pred", pred)):
            volume = create_volume(tmp_path / name / asked.path, asked.grid, array.dtype)
            volume[:] = array
        manifest, rules = load_manifest(tmp_path), get_protocol("crista-1")
        return explain(asked, Scorer.open(tmp_path / "pred", manifest, tmp_path / "truth", rules))

    return explained


def cubes(*corners, shape=SHAPE):
    return boxes(*corners, shape=shape)


def colours(image: Image.Image) -> set[tuple[int, ...]]:
    return {colour for _, colour in image.getcolors(1 << 20)}


def panels(image: Image.Image) -> Image.Image:
    """The picture without its legend."""
    return image.crop((0, 0, image.width, image.height - 46))


def test_nothing_wrong_is_said(told):
    truth = cubes(((2, 2, 2), (6, 6, 6)))
    perfect = told(truth, truth)
    assert spots(perfect) == []
    assert draw(perfect).height < 100


def test_a_missed_object_is_drawn_as_missed(told):
    truth = cubes(((2, 2, 2), (6, 6, 6)))
    (spot,) = spots(told(truth, np.zeros_like(truth)))
    assert spot.title.startswith("truth 1 is missed, 64 voxels")
    assert truth[spot.at] == 1
    found = colours(panels(draw(told(truth, np.zeros_like(truth)))))
    assert MISSED in found
    assert FALSE not in found
    assert OTHER not in found


def test_a_false_object_is_drawn_as_false(told):
    pred = cubes(((2, 2, 2), (6, 6, 6)))
    image = panels(draw(told(np.zeros_like(pred), pred)))
    assert FALSE in colours(image)
    assert ALONE in colours(image), "it has no counterpart whose colour it could take"
    assert MISSED not in colours(image)


def test_a_counterpart_has_the_colour_of_its_truth_object(told):
    truth = cubes(((2, 2, 2), (6, 6, 6)))
    pred = cubes(((9, 9, 9), (10, 10, 10)), ((2, 2, 2), (6, 6, 5)))
    image = panels(draw(told(truth, pred)))
    assert CYCLE[0] in colours(image)
    assert CYCLE[1] not in colours(image), "the prediction's own number would have this one"
    assert BOTH in colours(image)


def test_a_part_of_another_object_has_a_colour_of_its_own(told):
    truth = cubes(((2, 2, 2), (10, 6, 6)))
    pred = cubes(((2, 2, 2), (7, 6, 6)), ((7, 2, 2), (10, 6, 6)))
    assert OTHER in colours(panels(draw(told(truth, pred))))


def test_the_worst_of_each_kind_take_turns(told):
    truth = cubes(((0, 0, 0), (4, 4, 4)), ((6, 0, 0), (9, 3, 3)), ((12, 0, 0), (16, 4, 4)))
    pred = cubes(((0, 0, 0), (4, 4, 2)), ((12, 8, 8), (16, 12, 12)), ((12, 0, 0), (16, 4, 4)))
    titles = [spot.title.split(",")[0] for spot in spots(told(truth, pred))]
    assert titles == ["truth 2 is missed", "truth 1", "predicted 2 is false"]


def test_a_picture_shows_six_at_most(told):
    truth = np.zeros(SHAPE, np.uint16)
    truth[::4, ::4, ::4] = np.arange(1, 65).reshape(4, 4, 4)
    assert len(spots(told(truth, np.zeros_like(truth)))) == 6


def test_the_worst_planes_of_a_semantic_label_are_found(told):
    truth = np.zeros(SHAPE, np.uint8)
    truth[3, 5:9, 2] = 1
    (spot,) = spots(told(truth, np.zeros_like(truth), kind="semantic"))
    assert spot.at[0] == 3
    assert spot.at[2] == 2
    assert spot.title.startswith("worst planes: z 3 has 4 wrong voxels")
    assert [side.stop for side in spot.box] == list(SHAPE)


def test_a_semantic_label_without_an_error_has_no_spot(told):
    truth = np.ones(SHAPE, np.uint8)
    assert spots(told(truth, truth, kind="semantic")) == []


def test_a_slice_has_the_proportions_of_the_specimen(told):
    truth = np.zeros((8, 16, 16), np.uint8)
    truth[4, 4:8, 4:8] = 1
    wrong = told(truth, np.zeros_like(truth), kind="semantic", voxel_size=(40.0, 4.0, 4.0))
    image = np.asarray(draw(wrong))
    ground = (image == GROUND).all(axis=2) | (image == MISSED).all(axis=2)
    row = ground[ground.any(axis=1)][10]
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate(([False], row, [False])))))[::2]
    assert runs[0] == PANEL, "a plane is as wide as it is high"
    assert runs[-1] == PANEL * 64 // 320, "320 nm of Z beside 64 nm of Y"


def test_the_legend_names_every_colour():
    assert [colour for colour, _ in LEGEND] == [BOTH, MISSED, FALSE, OTHER]
    assert len({text for _, text in LEGEND}) == 4


def test_the_colours_of_errors_differ_in_lightness_or_hue_for_everybody():
    """Seen without the cones for red, or without those for green, they stay apart."""
    for kept in ((1, 2), (0, 2)):
        seen = [tuple(colour[i] for i in kept) for colour in (BOTH, MISSED, FALSE, OTHER, GROUND)]
        for i, one in enumerate(seen):
            for other in seen[i + 1 :]:
                assert np.linalg.norm(np.subtract(one, other)) > 40


def test_a_picture_is_a_png(told, tmp_path):
    truth = cubes(((2, 2, 2), (6, 6, 6)))
    save(draw(told(truth, np.zeros_like(truth))), tmp_path / "m.png")
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(EvaluatorError, match="cannot be written: No such file"):
        save(Image.new("RGB", (1, 1)), tmp_path / "nowhere" / "m.png")


def test_the_same_errors_give_the_same_picture(told):
    truth = cubes(((2, 2, 2), (6, 6, 6)), ((8, 8, 8), (12, 12, 12)))
    pred = cubes(((2, 2, 2), (6, 6, 5)), ((8, 8, 9), (12, 12, 12)))
    assert draw(told(truth, pred)).tobytes() == draw(told(truth, pred)).tobytes()


def test_every_table_and_the_picture_are_written(told, tmp_path):
    truth = cubes(((2, 2, 2), (6, 6, 6)))
    wrong = told(truth, np.zeros_like(truth))
    written = list(write_explanation(wrong, tmp_path / "out" / "deep"))
    assert [path.name for path in written] == [
        "pairs-by-overlap.csv", "pairs-by-distance.csv", "missed.csv", "false.csv", "split.csv",
        "merged.csv", "montage.png",
    ]  # fmt: skip
    assert (tmp_path / "out" / "deep" / "missed.csv").read_text() == (
        "truth,voxels,at z y x\n1,64,4 4 4\n"
    )  # fmt: skip


def test_a_file_where_the_folder_should_be_is_said(told, tmp_path):
    truth = cubes(((2, 2, 2), (6, 6, 6)))
    with pytest.raises(EvaluatorError, match=r"manifest\.csv cannot be made"):
        list(write_explanation(told(truth, truth), tmp_path / "manifest.csv"))


def test_a_summary_counts_what_the_tables_list(told):
    truth = cubes(((2, 2, 2), (6, 6, 6)), ((8, 8, 8), (12, 12, 12)))
    pred = cubes(((2, 2, 2), (6, 6, 6)), ((0, 12, 12), (1, 13, 13)))
    lines = list(summary(told(truth, pred)))
    assert lines[0].startswith("crop1/mito (instance) is scored: score 0.")
    assert lines[1].startswith("objects: 1 matched, 1 false, 1 missed, 0 split, 0 merged; F1 0.5")


def test_a_summary_of_voxels_counts_them(told):
    truth = cubes(((0, 0, 0), (2, 2, 2)))
    lines = list(summary(told(truth, np.zeros_like(truth), kind="semantic")))
    assert lines[1] == "voxels: 0 right, 0 false, 8 missed; IoU 0.0000"


def test_a_semantic_label_has_a_table_per_axis(told):
    truth = cubes(((0, 0, 0), (2, 2, 2)))
    titles = [title for title, _ in sheets(told(truth, truth, kind="semantic"))]
    assert titles == ["planes along z", "planes along y", "planes along x"]
