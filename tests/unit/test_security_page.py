"""docs/security.md names tests that show what it says: they must be there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


def threats() -> list[list[str]]:
    """The rows of the tables of threats: threat, answer, tests."""
    told = PAGE.partition("## Threats")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in told.splitlines()
        if line.startswith("| ")
    ]
    return [row for row in rows if row[0] != "threat"]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_what_is_named_is_there(file: str, test: str) -> None:
    path = ROOT / file
    assert path.is_file()
    defined = {
        each.name
        for each in ast.walk(ast.parse(path.read_text()))
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not test or test in defined


def test_each_threat_has_an_answer_and_a_test() -> None:
    assert len(threats()) >= 20
    for threat, answer, shown in threats():
        assert threat
        assert answer
        assert "`tests/" in shown, threat


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([\w./-]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
