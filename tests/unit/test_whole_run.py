"""What `make test` runs once more, what it never does, and what it says at the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import whole_run
from tests.whole_run import MOST_FILES, Result, Run, again, closing_line, read, status

OK, FAILED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED
SLOW = "tests/system/test_slow.py"
PREFIX = "tests.system.test_slow"
SIDE_BY_SIDE = ["-q", "-n", "1", "--dist", "loadfile", "tests"]
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
GREEN_ALONE = MODULE.replace("raise RuntimeError", "pass")


def ended(*red: str, as_status: int = FAILED, message: str = "AssertionError") -> Run:
    return Run(as_status, {(file, f"{file}.test_it"): Result("failed", message) for file in red})


def test_files_of_servers_are_run_again() -> None:
    assert again(ended(SLOW, SLOW, "tests/integration/test_other.py")) == [
        "tests/integration/test_other.py",
        SLOW,
    ]


@pytest.mark.parametrize(
    "first",
    [
        ended("tests/unit/test_pure.py"),
        ended(SLOW, "tests/unit/test_pure.py"),
        ended(SLOW, "tests/unit"),
        ended("tests/integration"),
        ended("gw1"),
        ended(*(f"tests/system/test_{number}.py" for number in range(MOST_FILES + 1))),
        ended(SLOW, as_status=pytest.ExitCode.INTERRUPTED),
        ended(SLOW, as_status=pytest.ExitCode.INTERNAL_ERROR),
        ended(SLOW, message="collection failure"),
        ended(SLOW, message="worker 'gw0' crashed while running 'tests/system/test_slow.py::test_it'"),
        ended(""),
        ended(as_status=OK),
        ended(as_status=FAILED),
    ],
)
def test_what_is_red_for_good_is_not(first: Run) -> None:
    assert again(first) == []


@pytest.mark.parametrize("outcome", ["failed", "error", "skipped", None])
def test_what_was_red_must_pass(outcome: str | None) -> None:
    first = ended(SLOW)
    assert status(first, Run(OK, dict.fromkeys(first.results, Result("passed")))) == OK
    assert status(first, Run(OK, dict.fromkeys(first.results, Result(outcome)) if outcome else {})) == FAILED
    assert status(first, Run(pytest.ExitCode.INTERRUPTED, {})) == pytest.ExitCode.INTERRUPTED


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(whole_run, "ROOT", tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "xdist.plugin")
    folder = tmp_path / "tests" / "system"
    folder.mkdir(parents=True)
    (folder / "test_slow.py").write_text(MODULE)
    (folder / "test_other.py").write_text("def test_other(): pass\n")
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
    assert {test: result.outcome for test, result in read(report.read_bytes()).items()} == {
        (SLOW, f"{PREFIX}.test_good"): "passed",
        (SLOW, f"{PREFIX}.test_left_out"): "skipped",
        (SLOW, f"{PREFIX}.test_ends_badly"): "error",
        (SLOW, f"{PREFIX}.test_late[a.test_b]"): "failed",
        (SLOW, f"{PREFIX}.test_late[c]"): "failed",
    }


def test_a_second_run_that_is_red_is_red(module: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert whole_run.main(SIDE_BY_SIDE) == FAILED
    lines = capfd.readouterr().out.splitlines()
    assert f"once more, alone: {SLOW}" in lines
    assert f"  {PREFIX}.test_ends_badly: error alone" in lines
    assert f"  {PREFIX}.test_late[c]: passed alone" in lines
    assert lines[-1].startswith("4 passed, 1 skipped, 1 error in ")


def test_what_was_red_is_named_where_the_second_run_is_green(
    module: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module.write_text(GREEN_ALONE)
    assert whole_run.main(SIDE_BY_SIDE) == OK
    lines = capfd.readouterr().out.splitlines()
    assert sorted(lines[-3:-1]) == [
        f"  {PREFIX}.test_late[a.test_b]: passed alone",
        f"  {PREFIX}.test_late[c]: passed alone",
    ]
    assert lines[-1].startswith("5 passed, 1 skipped in ")


def test_what_is_skipped_alone_is_red(module: Path) -> None:
    module.write_text(MODULE.replace("assert not first", "assert not first\n    pytest.skip('no tools')"))
    module.write_text(module.read_text().replace("raise RuntimeError", "pass"))
    assert whole_run.main(SIDE_BY_SIDE) == FAILED


def test_an_interrupt_is_final(module: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module.write_text(
        GREEN_ALONE.replace("def test_good(): pass", "def test_good():\n    raise KeyboardInterrupt")
    )
    assert whole_run.main(SIDE_BY_SIDE) == pytest.ExitCode.INTERRUPTED
    assert "once more" not in capfd.readouterr().out


def test_what_cannot_be_collected_is_final(module: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module.with_name("test_broken.py").write_text("import nothing_of_that_name\n")
    assert whole_run.main(SIDE_BY_SIDE) != OK
    assert "once more" not in capfd.readouterr().out


@pytest.mark.parametrize("option", ["-x", "--maxfail=1", "--exitfirst"])
def test_a_run_that_stops_early_says_nothing_of_the_rest(
    module: Path, option: str, capfd: pytest.CaptureFixture[str]
) -> None:
    module.write_text(GREEN_ALONE)
    assert whole_run.main(["-q", option, SLOW]) == FAILED
    assert "once more" not in capfd.readouterr().out


def test_a_run_that_is_green_is_left_as_it_is(module: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module.write_text("def test_good(): pass\n")
    assert whole_run.main(SIDE_BY_SIDE) == OK
    assert "once more" not in capfd.readouterr().out


def test_errors_are_counted_as_pytest_counts_them() -> None:
    results = dict.fromkeys([("a", "1"), ("a", "2")], Result("error")) | {("a", "3"): Result("passed")}
    assert closing_line(results, 1.0) == "1 passed, 2 errors in 1.00s"
