"""What `make audit` says of what was found, and with what it ends."""

from pathlib import Path
from typing import Any

from tools.dependency_audit import CLEAN, NOT_ASKED, ROOT, VULNERABLE, lock_files, report

GOOD: dict[str, Any] = {"dependencies": [{"name": "anyio", "version": "4.16.0", "vulns": []}]}
BAD: dict[str, Any] = {
    "dependencies": [
        {"name": "tea", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]},
        {"name": "cup", "version": "2.0", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]},
    ]
}
UNKNOWN: dict[str, Any] = {"dependencies": [{"name": "anyio", "skip_reason": "not found"}]}


def test_only_what_was_asked_about_and_is_well_is_clean() -> None:
    assert report([("a", GOOD)]) == (["a: 1 packages, 0 vulnerable, 0 could not be asked about"], CLEAN)
    assert report([("a", GOOD), ("b", UNKNOWN)])[1] == NOT_ASKED
    assert report([("a", None), ("b", GOOD)]) == (
        ["a: could not be audited", "b: 1 packages, 0 vulnerable, 0 could not be asked about"],
        NOT_ASKED,
    )
    assert report([])[1] == CLEAN


def test_a_vulnerable_package_is_named_whatever_else_could_not_be_asked() -> None:
    for order in ([("a", BAD), ("b", UNKNOWN)], [("b", UNKNOWN), ("a", BAD)]):
        lines, status = report(order)
        assert status == VULNERABLE
        assert "a: tea 1.0: PYSEC-1, mended in 1.1" in lines
        assert "a: cup 2.0: PYSEC-2, mended in not mended yet" in lines


def test_every_lock_file_of_python_is_asked_about() -> None:
    assert {str(Path(each).relative_to(ROOT)) for each in lock_files(ROOT)} >= {
        "requirements.lock",
        "requirements-dev.lock",
        "deploy/secantus/requirements.lock",
        "deploy/go/requirements.lock",
        "deploy/audit/requirements.lock",
    }
