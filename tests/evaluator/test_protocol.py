import pytest

from evaluator import PROTOCOLS, EvaluatorError, get_protocol


def test_a_protocol_is_found_by_its_name():
    assert get_protocol("crista-1") is PROTOCOLS["crista-1"]
    assert get_protocol("crista-1").name == "crista-1"


def test_an_unknown_protocol_is_answered_with_the_known_ones():
    with pytest.raises(EvaluatorError, match=r"no protocol 'crista-0'; choose from .*crista-1"):
        get_protocol("crista-0")


def test_every_name_leads_to_the_protocol_of_that_name():
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


def test_rules_cannot_be_changed_after_the_fact():
    with pytest.raises(AttributeError):
        get_protocol("crista-1").good_overlap = 0.1
