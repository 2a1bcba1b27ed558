"""Nobody gains by spoiling a prediction."""

import pytest

from benchmarks.red_team import attempts, gains, make_scene, table


@pytest.fixture(scope="module", params=[3, 4, 5])
def scene(request):
    return make_scene(48, request.param)


@pytest.fixture(scope="module")
def rows(scene):
    return table(scene)


def test_under_our_protocol_nothing_scores_above_the_prediction_it_was_made_from(scene, rows):
    assert len(attempts(scene)) >= 15
    assert gains(scene, rows, "crista-1") == []


def test_the_predictions_it_starts_from_are_a_perfect_and_a_middling_one(rows):
    assert rows["perfect"] == {"crista-1": 1.0, "cellmap-2026.1": 1.0}
    assert 0.3 < rows["honest"]["crista-1"] < 0.9


def test_names_of_objects_do_not_matter(rows):
    for name in ("shuffled ids", "huge ids"):
        assert rows[name]["crista-1"] == rows["honest"]["crista-1"]


def test_under_the_official_protocol_floods_do_gain(scene, rows):
    """Else the table would not show what it is there to show."""
    assert "all crops flooded" in gains(scene, rows, "cellmap-2026.1")
    assert rows["probabilities with a floor"]["cellmap-2026.1"] < rows["honest"]["cellmap-2026.1"]
