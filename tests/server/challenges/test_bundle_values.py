"""Every key of a bundle with a value it cannot have: a sentence for each, never a traceback."""

import pytest
from django.core.management import CommandError, call_command

from server.challenges.bundle import LETTERS, NUMBERS, BundleError, read_bundle
from server.challenges.models import Challenge, Phase
from tests.server.challenges.tables import HEAD, PHASE

DATE = "is a date with time, such as 2026-01-31T12:00:00Z; got"


@pytest.fixture
def bare(tmp_path):
    """A folder for a table alone: what is wrong with it is told before anything else is read."""
    (tmp_path / "bundle").mkdir()
    return tmp_path / "bundle"


def mistakes(folder, toml: str) -> list[str]:
    """The sentences about a bundle with this table, without the folder's name."""
    (folder / "challenge.toml").write_text(toml, "utf-8")
    with pytest.raises(BundleError) as error:
        read_bundle(folder)
    return [mistake.removeprefix("bundle: ") for mistake in error.value.mistakes]


def plan(folder, toml: str):
    (folder / "challenge.toml").write_text(toml, "utf-8")
    return read_bundle(folder).phases[0]


@pytest.mark.parametrize("key", sorted(NUMBERS))
@pytest.mark.parametrize("value", ["-1", "2.0", '"3"', "true", "[]", "{}", "1e3", "nan"])
def test_a_number_is_a_whole_number_and_nothing_that_looks_like_one(bare, key, value):
    (found,) = mistakes(bare, f"{HEAD}{PHASE}{key} = {value}\n")
    least = NUMBERS[key][0]
    assert found.startswith(f"[[phase]] test: {key} is a whole number of at least {least}; got ")


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("digits", 15), ("per_day", 2**31 - 1), ("total", 2**31 - 1), ("concurrent", 2**31 - 1),
        ("attempts_per_day", 2**31 - 1), ("max_bytes", 2**63 - 1),
    ],
)  # fmt: skip
def test_a_number_that_no_database_holds_is_refused_and_the_largest_is_not(folder, key, most):
    (found,) = mistakes(folder, f"{HEAD}{PHASE}{key} = {most + 1}\n")
    assert found == f"[[phase]] test: {key} is at most {most}; got {most + 1}."
    assert getattr(plan(folder, f"{HEAD}{PHASE}{key} = {most}\n"), key) == most


@pytest.mark.parametrize("key", sorted(NUMBERS))
def test_the_least_number_is_taken(folder, key):
    least = NUMBERS[key][0]
    assert getattr(plan(folder, f"{HEAD}{PHASE}{key} = {least}\n"), key) == least


@pytest.mark.parametrize("key", ["visibility", "selection", "detail"])
@pytest.mark.parametrize("value", ['""', '"FULL"', '"best "', "1", "true", '["full"]', "{a = 1}"])
def test_a_word_is_one_of_those_known_written_as_they_are(bare, key, value):
    (found,) = mistakes(bare, f"{HEAD}{PHASE}{key} = {value}\n")
    assert found.startswith(f"[[phase]] test: {key} is one of ")


@pytest.mark.parametrize("key", ["embargo", "merge_until"])
@pytest.mark.parametrize("value", ["2026-03-01", "12:00:00", "false", "0", '"soon"', '""', "[]"])
def test_a_moment_has_a_date_and_a_time(bare, key, value):
    (found,) = mistakes(bare, f"{HEAD}{PHASE}{key} = {value}\n")
    assert found.startswith(f"[[phase]] test: {key} {DATE} ")


@pytest.mark.parametrize("key", ["opens", "closes"])
@pytest.mark.parametrize("value", ["2026-03-01", "12:00:00", "true", "7", '"2026-13-01T00:00"'])
def test_a_phase_without_its_two_moments_is_no_phase(bare, key, value):
    lines = [f"{key} = {value}" if line.startswith(key) else line for line in PHASE.splitlines()]
    (found,) = mistakes(bare, HEAD + "\n".join(lines) + "\n")
    assert "opens and closes are dates with time" in found


def test_moments_are_compared_across_zones(bare):
    toml = HEAD + PHASE.replace("2026-02-01T00:00:00Z", "2026-01-01T01:00:00+02:00")
    (found,) = mistakes(bare, toml)  # an hour before it opens, though the clock says later
    assert "before it opens" in found


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("title", "5", "title must be text; got 5."),
        ("title", '""', "title must not be empty."),
        ("title", '"  "', "title must not be empty."),
        ("title", f'"{"x" * 121}"', "title has at most 120 letters; got 121."),
        ("slug", "5", "slug is made of letters, digits, - and _; got 5."),
        ("slug", '""', "slug is made of letters, digits, - and _; got ''."),
        ("slug", '"a/b"', "slug is made of letters, digits, - and _; got 'a/b'."),
        ("slug", '"a\\n"', "slug is made of letters, digits, - and _; got 'a\\n'."),
        ("slug", '["a"]', "slug is made of letters, digits, - and _; got ['a']."),
        ("slug", f'"{"x" * 61}"', "slug has at most 60 letters; got 61."),
    ],
)
def test_the_names_of_a_phase_fit_where_they_are_stored(bare, key, value, sentence):
    lines = [f"{key} = {value}" if line.startswith(key) else line for line in PHASE.splitlines()]
    (found,) = mistakes(bare, HEAD + "\n".join(lines) + "\n")
    assert found.endswith(f": {sentence}")


@pytest.mark.parametrize("key", sorted(LETTERS))
def test_the_names_of_a_challenge_fit_where_they_are_stored(bare, key):
    most = LETTERS[key]
    lines = [line for line in HEAD.splitlines() if not line.startswith(key)]
    head = "\n".join([*lines, f'{key} = "{"x" * (most + 1)}"\n'])
    assert mistakes(bare, head + PHASE) == [f"{key} has at most {most} letters; got {most + 1}."]


@pytest.mark.parametrize(
    "key", ["summary", "note", "overview", "rules", "manifest", "truth", "title", "protocol"]
)
@pytest.mark.parametrize("value", ["5", "true", '["a"]', "{a = 1}"])
def test_the_texts_of_a_challenge_are_text(bare, key, value):
    lines = [line for line in HEAD.splitlines() if not line.startswith(key)]
    found = mistakes(bare, "\n".join([*lines, f"{key} = {value}"]) + "\n" + PHASE)
    assert len(found) == 1
    assert found[0].startswith(f"challenge.toml: {key} must be text; got ")


def test_an_empty_protocol_is_none(bare):
    (found,) = mistakes(bare, HEAD.replace("crista-1", "") + PHASE)
    assert found == "there is no protocol ''. Known: cellmap-2026.1, crista-1."


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("phase = [1]\n" + HEAD, "each phase is a table below [[phase]]; got phase = [1]."),
        ('phase = ["a"]\n' + HEAD, "each phase is a table below [[phase]]; got phase = ['a']."),
        ("phase = []\n" + HEAD, "challenge.toml needs at least one [[phase]]."),
        ('phase = "test"\n' + HEAD, "challenge.toml needs at least one [[phase]]."),
        (HEAD + PHASE.replace("[[phase]]", "[phase]"), "challenge.toml needs at least one [[phase"),
    ],
)
def test_phases_are_tables_in_double_brackets(bare, toml, sentence):
    (found,) = mistakes(bare, toml)
    assert found.startswith(sentence)


def test_phases_without_a_slug_share_none(bare):
    found = mistakes(bare, HEAD + PHASE.replace('slug = "test"\n', "") * 2)
    assert found == [f"[[phase]] {number}: slug must be given." for number in (1, 2)]


def test_every_phase_is_looked_at_and_named(bare):
    other = PHASE.replace('"test"', '"final"')
    found = mistakes(bare, f"{HEAD}{PHASE}digits = -1\n{other}per_day = -1\nspeed = 1\n")
    assert [mistake.split(":")[0] for mistake in found] == [
        "[[phase]] test", "[[phase]] final", "[[phase]] final",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["challenge.toml", "overview.md", "rules.md", "manifest.csv", "labels.toml"]
)
def test_a_file_that_is_not_utf_8_is_named(folder, name):
    (folder / name).write_bytes("slug = 'Größe'".encode("utf-16"))
    with pytest.raises(BundleError, match=rf"{name} is not text in UTF-8: .*Save it as such"):
        read_bundle(folder)


@pytest.mark.django_db
def test_what_is_refused_is_a_sentence_of_the_command_and_stores_nothing(bare):
    (bare / "challenge.toml").write_text("phase = [1]\n" + HEAD)
    with pytest.raises(CommandError, match=r"Nothing was loaded\.\nbundle: each phase"):
        call_command("load_challenge", str(bare))
    assert not Challenge.objects.exists()


def test_what_a_bundle_takes_the_rows_take():
    """The limits of the table and of the database are the same."""
    for name, most in (("slug", 60), ("title", 120)):
        assert Phase._meta.get_field(name).max_length == LETTERS[name] == most
    for name, most in LETTERS.items():
        assert Challenge._meta.get_field(name).max_length == most
