import numpy as np

from baselines.imaging import Section, develop, section

AXIS = np.arange(32) * 4.0


def record(grey, **faults):
    sections = [Section(blur=0.5, **faults) for _ in grey]
    random = np.random.default_rng(0)
    return develop(grey, sections, y=AXIS, x=AXIS, random=random, noise=0.02)


def flat(value=0.5):
    return np.full((2, 32, 32), value, np.float32)


def test_a_section_depends_on_seed_and_index_only():
    assert section(1, 7, (100.0, 100.0)) == section(1, 7, (100.0, 100.0))
    assert section(1, 7, (100.0, 100.0)) != section(1, 8, (100.0, 100.0))


def test_among_many_sections_every_accident_happens_but_most_are_good():
    accidents = [section(0, n, (100.0, 100.0)).accident for n in range(1500)]
    assert set(accidents) == {"", "missing", "dark", "scratch", "fold"}
    assert accidents.count("") > 1400


def test_the_record_is_noisy_around_the_grey():
    image = record(flat()).astype(float)
    assert abs(image.mean() - (0.5 * 215 + 12)) < 2
    assert 2 < image.std() < 10


def test_a_missing_section_is_black():
    assert not record(flat(), accident="missing").any()


def test_a_dark_section_is_darker():
    assert record(flat(), accident="dark").mean() < record(flat()).mean() - 30


def test_a_fold_is_dark_along_its_line_only():
    image = record(flat(), accident="fold", line=(1.0, 0.0, 64.0))
    assert image[:, 16].mean() < image[:, 2].mean() - 40


def test_a_scratch_is_bright_along_its_line():
    image = record(flat(), accident="scratch", line=(1.0, 0.0, 64.0))
    assert image[:, 16].mean() > image[:, 2].mean() + 30
