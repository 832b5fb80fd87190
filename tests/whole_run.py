"""`make test`: all tests, and those files once more, alone, whose tests were red while others kept the machine busy.

A test of processes may be red because a shared machine did nothing else for half a minute, or because of a fault that
only shows under load. The second run tells the two apart no better than a person could; it does keep the first kind from stopping a
build, and every test that was red is named at the end, so that none goes unseen. Unit tests have no servers: a red one is red.
See docs/decisions/0050-second-run-of-red-files.md.

    python -m tests.whole_run [what pytest is told]
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("tests/system/", "tests/integration/", "tests/interop/")
MOST_FILES = 4
FINAL = ("collection failure", "crashed while running")
"""What pytest says, as the message of a report, of what is no test's own failure."""
STOPS_EARLY = ("-x", "--exitfirst", "--maxfail")

Test = tuple[str, str]
"""Its file and its dotted name."""


@dataclass(frozen=True)
class Result:
    """How a test came out: `failed`, `error`, `skipped` or `passed`, and what the report says in a line."""

    outcome: str
    message: str = ""

    @property
    def is_red(self) -> bool:
        """Whether it failed, or one of its fixtures did."""
        return self.outcome in {"failed", "error"}


@dataclass(frozen=True)
class Run:
    """A run of pytest: the status it ended with, and each test's result."""

    status: int
    results: dict[Test, Result]

    @property
    def red(self) -> list[Test]:
        """The tests that were red."""
        return [test for test, result in self.results.items() if result.is_red]


def read(report: bytes) -> dict[Test, Result]:
    """Read the results in a JUnit report of family xunit1, which says each test's file."""
    outcomes = {"failure": "failed", "error": "error", "skipped": "skipped"}
    results: dict[Test, Result] = {}
    for case in ET.fromstring(report).iter("testcase"):
        test = (case.get("file", ""), f"{case.get('classname')}.{case.get('name')}")
        said = next((each for each in case if each.tag in outcomes), None)
        found = Result("passed") if said is None else Result(outcomes[said.tag], said.get("message", ""))
        if test not in results or not results[test].is_red:  # a test and the end of its fixtures are two
            results[test] = found
    return results


def again(first: Run) -> list[str]:
    """The files that are worth a second run; none where the first one's word is final."""
    files = sorted({file for file, _ in first.red})
    final = first.status != pytest.ExitCode.TESTS_FAILED or any(
        words in first.results[test].message for test in first.red for words in FINAL
    )
    alone = all(file.startswith(FOLDERS) and file.endswith(".py") for file in files)
    return files if alone and not final and len(files) <= MOST_FILES else []


def status(first: Run, second: Run) -> int:
    """The status of both together: each test that was red must have passed now, not just be red no more."""
    if second.status != pytest.ExitCode.OK:
        return second.status
    passed = all(test in second.results and second.results[test].outcome == "passed" for test in first.red)
    return pytest.ExitCode.OK if passed else pytest.ExitCode.TESTS_FAILED


def closing_line(results: dict[Test, Result], took_s: float) -> str:
    """What pytest would say of both runs together."""
    counts = Counter(result.outcome for result in results.values())
    said = [
        f"{counts[word]} {word}{'s' if word == 'error' and counts[word] > 1 else ''}"
        for word in ("failed", "passed", "skipped", "error")
        if counts[word]
    ]
    return f"{', '.join(said)} in {took_s:.2f}s"


def run(told: Sequence[str]) -> Run:
    """Run pytest in a process of its own, which is left to end by itself where it is asked to stop."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            f"--junit-xml={report}",
            "-o",
            "junit_family=xunit1",
            *told,
        ]
        running = subprocess.Popen(command, cwd=ROOT)
        before = signal.signal(signal.SIGTERM, lambda *_: running.terminate())
        try:
            ended = _ended(running)
        finally:
            signal.signal(signal.SIGTERM, before)
        return Run(ended, read(report.read_bytes()) if report.exists() else {})


def _ended(running: "subprocess.Popen[bytes]") -> int:
    while True:
        try:
            return running.wait()
        except KeyboardInterrupt:  # pytest was told too: it stops its servers and says how far it came
            continue


def main(told: Sequence[str]) -> int:
    """Run the tests; the status is pytest's."""
    began = time.monotonic()
    first = run(told)
    files = again(first)
    options = [*told, *shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))]
    if not files or any(option.startswith(STOPS_EARLY) for option in options):
        return first.status
    print(f"\nonce more, alone: {' '.join(files)}", flush=True)
    second = run(["-n", "0", *files])
    print("\nred at first; each is a fault until somebody knows why:")
    for test in first.red:
        print(f"  {test[1]}: {second.results[test].outcome if test in second.results else 'not run'} alone")
    print(closing_line(first.results | second.results, time.monotonic() - began), flush=True)
    return status(first, second)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
