"""Every service that keeps something of users deletes and shows it: a step that is written is in the tables."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from services.erasure.steps import ERASE_STEPS, EXPORT_STEPS

ROOT = Path(__file__).parents[2]


def written_steps() -> Iterator[tuple[str, str, str]]:
    """Module, name and result of each public function of a module whose arguments are those of a step."""
    for path in sorted((ROOT / "services").rglob("*.py")):
        for each in ast.parse(path.read_text("utf-8")).body:
            if isinstance(each, ast.AsyncFunctionDef) and not each.name.startswith("_"):
                kinds = [ast.unparse(one.annotation) for one in each.args.args if one.annotation]
                if kinds == ["Database", "Known"]:
                    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                    yield module, each.name, ast.unparse(each.returns) if each.returns else ""


def test_every_step_that_a_service_has_is_taken() -> None:
    found = list(written_steps())
    for steps, result in ((ERASE_STEPS, "int"), (EXPORT_STEPS, "AsyncIterator[tuple[str, Any]]")):
        of = [
            getattr(importlib.import_module(module), name) for module, name, each in found if each == result
        ]
        assert set(of) == set(steps.values())
        assert list(steps) == sorted(steps)
        assert {each.__module__.split(".")[1] for each in steps.values()} == {"audit", "query"}
    assert {result for *_, result in found} == {"int", "AsyncIterator[tuple[str, Any]]"}


def test_what_is_erased_is_shown_before() -> None:
    assert set(ERASE_STEPS) | {"vault"} == set(EXPORT_STEPS)


def test_metadata_of_another_release_changes_nothing(tmp_path: Path) -> None:
    stale = tmp_path / "goodstrace.egg-info"
    stale.mkdir()
    (stale / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: goodstrace\nVersion: 0.0.1\n")
    (stale / "entry_points.txt").write_text(
        "[goodstrace.erasing]\naccounts = services.query.accounts.erasing:erase_user\n"
    )
    asked = "from services.erasure import steps; print(*steps.ERASE_STEPS, *steps.EXPORT_STEPS)"
    told = subprocess.run(
        [sys.executable, "-c", asked],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.split() == [*ERASE_STEPS, *EXPORT_STEPS]
