"""The package's face: what the server and the baselines may rely on."""

import inspect
import subprocess
import sys

import pytest

import evaluator


def test_every_public_name_is_there_and_listed_once_in_order():
    assert sorted(set(evaluator.__all__)) == sorted(evaluator.__all__)
    assert all(hasattr(evaluator, name) for name in evaluator.__all__)


def test_every_public_function_and_class_tells_what_the_caller_gets():
    public = [getattr(evaluator, name) for name in evaluator.__all__]
    things = [thing for thing in public if inspect.isclass(thing) or inspect.isfunction(thing)]
    assert len(things) > 20
    assert [thing.__name__ for thing in things if not inspect.getdoc(thing)] == []


def test_public_functions_take_what_could_be_swapped_by_name():
    """truth and submission are both paths, protocol and submission both texts."""
    for function, names in (
        (evaluator.score_target, {"truth", "submission", "manifest", "protocol"}),
        (evaluator.pool, {"protocol"}),
    ):
        parameters = inspect.signature(function).parameters
        assert {parameters[name].kind for name in names} == {inspect.Parameter.KEYWORD_ONLY}


def test_who_only_talks_to_a_server_loads_nothing_that_scoring_needs():
    code = (
        "import sys\n"
        "from evaluator import client, uploading\n"
        "assert not {'scipy', 'zarr', 'tensorstore', 'evaluator.public'} & set(sys.modules)\n"
        "from evaluator import score_pair\n"
        "assert 'evaluator.public' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_offered_is_no_attribute():
    assert not hasattr(evaluator, "nonsense")
    with pytest.raises(ImportError, match="nonsense"):
        exec("from evaluator import nonsense")
