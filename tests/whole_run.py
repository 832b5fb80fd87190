"""`make test`: all tests, and those files once more, alone, whose tests were red while others kept the machine busy.

A test of processes may be red because a shared machine did nothing else for half a minute, or because of a fault that
only shows under load. The second run tells the two apart no better than a person could; it does keep the first kind from stopping a
build, and names every test that was red, so that none goes unseen. Unit tests open no sockets: a red one is red. So is the
whole run where more than a few files have red tests.

    python -m tests.whole_run [what pytest is told]
"""

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
MOST_FILES = 4
ONLY_ONCE = "tests/unit/"


@dataclass(frozen=True)
class Outcome:
    """How each test of a run came out: `failed`, `error`, `skipped` or `passed`, by file and dotted name."""

    status: int
    tests: dict[tuple[str, str], str]

    @property
    def red(self) -> list[tuple[str, str]]:
        """The tests that failed, or whose fixtures did."""
        return [test for test, outcome in self.tests.items() if outcome in {"failed", "error"}]


def read(report: bytes) -> dict[tuple[str, str], str]:
    """Read the outcomes of a JUnit report of family xunit1, which says each test's file."""
    words = {"failure": "failed", "error": "error", "skipped": "skipped"}
    outcomes: dict[tuple[str, str], str] = {}
    for case in ET.fromstring(report).iter("testcase"):
        test = (case.get("file", ""), f"{case.get('classname')}.{case.get('name')}")
        found = next((words[each.tag] for each in case if each.tag in words), "passed")
        if outcomes.get(test) not in {"failed", "error"}:  # a test and the end of its fixtures are two
            outcomes[test] = found
    return outcomes


def again(outcome: Outcome) -> list[str]:
    """The files that are worth a second run; none where the first one's word is final."""
    files = sorted({file for file, _ in outcome.red})
    final = outcome.status != pytest.ExitCode.TESTS_FAILED or any(
        not file or file.startswith(ONLY_ONCE) for file in files
    )
    return [] if final or len(files) > MOST_FILES else files


def closing_line(outcomes: dict[tuple[str, str], str], took_s: float) -> str:
    """What pytest would say of both runs together."""
    counts = Counter(outcomes.values())
    said = [
        f"{counts[word]} {word}{'s' if word == 'error' and counts[word] > 1 else ''}"
        for word in ("failed", "passed", "skipped", "error")
        if counts[word]
    ]
    return f"{', '.join(said)} in {took_s:.2f}s"


def run(told: Sequence[str]) -> Outcome:
    """Run pytest in a process of its own."""
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
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        return Outcome(status, read(report.read_bytes()) if report.exists() else {})


def main(told: Sequence[str]) -> int:
    """Run the tests; the status is pytest's."""
    began = time.monotonic()
    first = run(told)
    files = again(first)
    if not files:
        return first.status
    print(f"\nonce more, alone: {' '.join(files)}", flush=True)
    second = run(["-n", "0", *files])
    if second.status == pytest.ExitCode.OK:
        print("\nred at first and green alone; each is a fault until somebody knows why:")
        for _, name in first.red:
            print(f"  {name}")
    print(closing_line(first.tests | second.tests, time.monotonic() - began), flush=True)
    return second.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
