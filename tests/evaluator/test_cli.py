"""The commands as a participant runs them: a process in an empty folder."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import evaluator
from evaluator import cli, get_protocol, load_manifest, score_submission
from tests.synthetic import write_challenge, write_submission


@pytest.fixture(scope="module")
def challenge(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("challenge")
    write_challenge(folder, size=32)
    write_submission(folder / "s.zip", folder, quality=0.7)
    return folder


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run `evaluator ARGUMENTS` in an empty folder; (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["evaluator", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return command


@pytest.fixture
def expected(challenge) -> str:
    """The JSON that scoring the challenge's submission gives."""
    return score_submission(
        challenge / "s.zip",
        truth=challenge / "truth.zarr",
        manifest=load_manifest(challenge),
        protocol=get_protocol("crista-1"),
    ).to_json()


def score_arguments(challenge: Path, *more: object) -> tuple[object, ...]:
    where = ("--truth", challenge / "truth.zarr", "--manifest", challenge)
    return ("score", challenge / "s.zip", *where, *more)


def test_a_good_submission_passes_the_check(run, challenge):
    code, out, err = run("check", challenge / "s.zip", "--manifest", challenge)
    assert (code, err) == (0, "")
    assert out == "accepted: 6 ok, 0 missing, 0 unreadable of 6 targets\n"


def test_a_check_that_finds_problems_ends_with_one(run, challenge):
    code, out, err = run("check", challenge / "manifest.csv", "--manifest", challenge)
    assert (code, err) == (1, "")
    assert "manifest.csv is not a zip file" in out
    assert "rejected: 0 ok, 6 missing" in out


def test_a_note_on_what_is_ignored_is_no_failure(run, challenge):
    (challenge / "truth.zarr" / "crop9" / "x").mkdir(parents=True)
    (challenge / "truth.zarr" / "crop9" / "x" / "file").touch()
    code, out, _ = run("check", challenge / "truth.zarr", "--manifest", challenge)
    assert code == 0
    assert "crop9 is not in the manifest; it is ignored" in out


def test_score_prints_exactly_the_canonical_json(run, challenge, expected):
    code, out, err = run(*score_arguments(challenge, "--json", "-"))
    assert code == 0
    assert out == expected
    assert "6 targets" in err


def test_score_writes_exactly_the_canonical_json(run, challenge, expected, tmp_path):
    code, out, _ = run(*score_arguments(challenge, "--json", "r.json", "--jobs", 2))
    assert code == 0
    assert (tmp_path / "r.json").read_text() == expected
    assert f"sha256 {hashlib.sha256(expected.encode()).hexdigest()}\n" in out
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_score_without_json_and_show_print_the_same_table(run, challenge, tmp_path, expected):
    (tmp_path / "r.json").write_text(expected)
    _, scored, _ = run(*score_arguments(challenge))
    code, shown, err = run("show", "r.json")
    assert (code, err) == (0, "")
    assert shown == scored
    overall = json.loads(expected)["overall"]
    assert f"overall {overall:.4f}" in shown
    for word in ("membrane", "mito", "nucleus", "semantic", "instance", "crista-1"):
        assert word in shown


def test_the_table_names_targets_that_count_as_worst(run, challenge, tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "crop1").symlink_to(challenge / "truth.zarr" / "crop1")
    code, _, err = run(
        "score", "part", "--truth", challenge / "truth.zarr", "--manifest", challenge
    )  # fmt: skip
    assert code == 2
    assert "crop1 is a symbolic link" in err
    (tmp_path / "part" / "crop1").unlink()
    (tmp_path / "part" / "crop1" / "mito").mkdir(parents=True)
    (tmp_path / "part" / "crop1" / "mito" / "x").touch()
    code, out, _ = run(
        "score", "part", "--truth", challenge / "truth.zarr", "--manifest", challenge
    )  # fmt: skip
    assert code == 0
    assert "crop1/mito is unreadable and counts as worst." in out
    assert "crop2/membrane is missing and counts as worst." in out


def test_pack_makes_a_submission_that_scores_one(run, challenge):
    code, out, _ = run("pack", challenge / "truth.zarr", "--manifest", challenge, "--out", "p.zip")
    assert (code, out) == (0, "Packed 6 of 6 targets into p.zip.\n")
    assert run("check", "p.zip", "--manifest", challenge)[0] == 0
    _, out, _ = run("score", "p.zip", "--truth", challenge / "truth.zarr", "--manifest", challenge)
    assert "overall 1.0000  instance 1.0000  semantic 1.0000" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("check", "s.zip", "--manifest", "."), "manifest.csv is missing"),
        (("show", "nothing.json"), "nothing.json cannot be read: No such file"),
        (("show", "{challenge}/manifest.csv"), "is not JSON"),
        (("show", "{challenge}"), "cannot be read: Is a directory"),
        (("pack", "nothing", "--manifest", "{challenge}", "--out", "p.zip"), "no folder nothing"),
        (("pack", ".", "--manifest", "{challenge}", "--out", "p.zip"), "none of the 6 targets"),
        (
            ("score", "nothing.zip", "--manifest", "{challenge}", "--truth", "{challenge}"),
            "nothing.zip does not exist",
        ),
        (
            ("score", "{challenge}/s.zip", "--manifest", "{challenge}", "--truth", "nowhere"),
            "There is no folder nowhere",
        ),
        (
            ("score", "{challenge}/s.zip", "--manifest", "{challenge}", "--truth", "."),
            "The truth of crop1/membrane cannot be read: there is no Zarr array",
        ),
        (
            ("score", "s.zip", "--manifest", ".", "--truth", ".", "--protocol", "x"),
            "no protocol 'x'; choose from",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_two(run, challenge, arguments, sentence):
    code, out, err = run(*(part.format(challenge=challenge) for part in arguments))
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_result_that_cannot_be_written_is_said_so(run, challenge):
    code, out, err = run(*score_arguments(challenge, "--json", "nowhere/r.json"))
    assert (code, out) == (2, "")
    assert err == "nowhere/r.json cannot be written: No such file or directory.\n"


def test_a_json_file_that_is_no_result_is_refused(run, tmp_path):
    for text in ("[]", "{}", '{"schema": 99}', '{"schema": 1}'):
        (tmp_path / "r.json").write_text(text)
        code, _, err = run("show", "r.json")
        assert code == 2
        assert "not a result of schema 1" in err


def test_the_version_is_printed(run):
    assert run("--version") == (0, f"evaluator {evaluator.__version__}\n", "")


def test_every_command_is_listed_with_its_help(run):
    _, out, _ = run("--help")
    for command in ("check", "score", "pack", "show", "login", "submit", "status", "board"):
        assert command in out


def test_the_module_is_the_command(tmp_path):
    root = Path(evaluator.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "evaluator", "--version"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"evaluator {evaluator.__version__}\n"


def test_importing_the_package_starts_no_thread_of_its_own(tmp_path):
    """Workers fork after the import; threads would not survive that.  OpenBLAS is told to wait."""
    root = Path(evaluator.__file__).parents[1]
    count = "import evaluator, os; print(len(os.listdir('/proc/self/task')))"
    done = subprocess.run(
        [sys.executable, "-c", count],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
