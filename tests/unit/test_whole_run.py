"""What `make test` runs once more, what it never does, and what it says at the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import whole_run
from tests.whole_run import MOST_FILES, Outcome, again, closing_line, read

FAILED = pytest.ExitCode.TESTS_FAILED
SLOW = "tests/system/test_slow.py"
PREFIX = "tests.system.test_slow"
MODULE = """
import pytest
from pathlib import Path

def test_good(): pass

@pytest.mark.skip
def test_left_out(): pass

@pytest.fixture
def broken():
    yield
    raise RuntimeError

def test_ends_badly(broken): pass

@pytest.mark.parametrize("value", ["a.test_b", "c"])
def test_late(value):
    seen = Path(__file__).with_name(f"seen-{value}")
    first, _ = not seen.exists(), seen.touch()
    assert not first
"""


def outcome(*red: str, status: int = FAILED) -> Outcome:
    return Outcome(status, {(file, f"{file}.test_it"): "failed" for file in red})


def test_files_of_processes_are_run_again() -> None:
    assert again(outcome(SLOW, SLOW, "tests/integration/test_other.py")) == [
        "tests/integration/test_other.py",
        SLOW,
    ]


@pytest.mark.parametrize(
    "first",
    [
        outcome("tests/unit/test_pure.py"),
        outcome(SLOW, "tests/unit/test_pure.py"),
        outcome(*(f"tests/system/test_{number}.py" for number in range(MOST_FILES + 1))),
        outcome(SLOW, status=pytest.ExitCode.INTERRUPTED),
        outcome(SLOW, status=pytest.ExitCode.INTERNAL_ERROR),
        outcome(""),
        outcome(status=pytest.ExitCode.OK),
        outcome(status=FAILED),
    ],
)
def test_what_is_red_for_good_is_not(first: Outcome) -> None:
    assert again(first) == []


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(whole_run, "ROOT", tmp_path)
    folder = tmp_path / "tests" / "system"
    folder.mkdir(parents=True)
    (folder / "test_slow.py").write_text(MODULE)
    return folder / "test_slow.py"


def test_reports_of_pytest_are_read(module: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        f"--junit-xml={report}",
        "-o",
        "junit_family=xunit1",
        SLOW,
    ]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    assert read(report.read_bytes()) == {
        (SLOW, f"{PREFIX}.test_good"): "passed",
        (SLOW, f"{PREFIX}.test_left_out"): "skipped",
        (SLOW, f"{PREFIX}.test_ends_badly"): "error",
        (SLOW, f"{PREFIX}.test_late[a.test_b]"): "failed",
        (SLOW, f"{PREFIX}.test_late[c]"): "failed",
    }


def test_a_second_run_that_is_red_is_red(module: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert whole_run.main(["-q", SLOW]) == FAILED
    said = capfd.readouterr().out
    assert f"once more, alone: {SLOW}" in said
    assert said.splitlines()[-1].startswith("3 passed, 1 skipped, 1 error in ")


def test_what_was_red_is_named_where_the_second_run_is_green(
    module: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module.write_text(MODULE.replace("raise RuntimeError", "pass"))
    assert whole_run.main(["-q", SLOW]) == pytest.ExitCode.OK
    lines = capfd.readouterr().out.splitlines()
    assert lines[-3:-1] == [f"  {PREFIX}.test_late[a.test_b]", f"  {PREFIX}.test_late[c]"]
    assert lines[-1].startswith("4 passed, 1 skipped in ")


def test_a_run_that_is_green_is_left_as_it_is(module: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module.write_text("def test_good(): pass\n")
    assert whole_run.main(["-q", SLOW]) == pytest.ExitCode.OK
    assert "once more" not in capfd.readouterr().out


def test_errors_are_counted_as_pytest_counts_them() -> None:
    outcomes = dict.fromkeys([("a", "1"), ("a", "2")], "error") | {("a", "3"): "passed"}
    assert closing_line(outcomes, 1.0) == "1 passed, 2 errors in 1.00s"
