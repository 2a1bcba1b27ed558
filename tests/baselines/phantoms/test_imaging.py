import numpy as np

from baselines.phantoms.imaging import Section, develop, section

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


def test_gain_stretches_around_mid_grey():
    dark, bright = record(flat(0.3), gain=1.5).mean(), record(flat(0.7), gain=1.5).mean()
    assert bright - dark > 1.4 * (record(flat(0.7)).mean() - record(flat(0.3)).mean())
    assert abs(record(flat(), gain=1.5).mean() - record(flat()).mean()) < 2


def test_bias_makes_a_section_brighter():
    assert record(flat(), bias=0.1).mean() > record(flat()).mean() + 15


def test_a_tilt_runs_across_the_plane():
    image = record(flat(), tilt=(1.0, 0.0)).astype(float)
    rows = image.mean(axis=(0, 2))
    assert rows[-4:].mean() > rows[:4].mean() + 10


def test_bright_places_are_noisier_than_dark_ones():
    # Shot noise grows with the square root of the signal: by sqrt(9) = 3 from 0.1 to 0.9.
    dark, bright = record(flat(0.1)), record(flat(0.9))
    assert bright.astype(float).std() > 1.3 * dark.astype(float).std()


def test_blur_softens_an_edge():
    edge = flat(0.2)
    edge[:, :, 16:] = 0.8
    sharp, soft = (
        develop(
            edge, [Section(blur=b)] * 2, y=AXIS, x=AXIS, random=np.random.default_rng(0), noise=0.0
        ).astype(float)
        for b in (0.1, 2.0)
    )
    steps = [np.abs(np.diff(image.mean(axis=(0, 1)))).max() for image in (sharp, soft)]
    assert steps[0] > 2 * steps[1]


def test_the_grey_that_was_given_is_not_changed():
    grey = flat()
    record(grey, accident="fold", line=(1.0, 0.0, 64.0))
    assert (grey == 0.5).all()


def test_sections_are_shifted_by_a_few_nanometres_around_their_place():
    shifts = np.array([section(3, n, (100.0, 100.0)).shift for n in range(400)])
    assert np.abs(shifts.mean(axis=0)).max() < 0.5
    assert 0.8 < np.median(np.abs(shifts)) / 0.674 < 2
    assert np.abs(shifts).max() < 20
