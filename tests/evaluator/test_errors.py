import pickle

import pytest

from evaluator import EvaluatorError, ManifestError, SubmissionError, Unreadable
from evaluator.archive import ArchiveError
from evaluator.metadata import Unfit


@pytest.mark.parametrize("kind", [ManifestError, SubmissionError, Unreadable])
def test_every_error_with_a_sentence_is_an_evaluator_error(kind):
    with pytest.raises(EvaluatorError, match="a sentence"):
        raise kind("a sentence")


@pytest.mark.parametrize(
    "error", [Unfit("a", "b", "c", "d", "e"), ArchiveError("a", "b", "c", "d", "e")]
)
def test_an_explained_error_survives_the_way_to_another_process(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (copy.code, str(copy), copy.remedy) == ("a", "b", "c")
    assert (copy.expected, copy.got) == ("d", "e")


def test_what_is_unfit_is_unreadable_and_a_refused_archive_is_the_participants():
    assert issubclass(Unfit, Unreadable)
    assert issubclass(ArchiveError, SubmissionError)
