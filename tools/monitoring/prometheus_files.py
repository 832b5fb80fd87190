"""The files that Prometheus and promtool read, made of the rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tools.monitoring.alerts import ALERTS, Alert, burns
from tools.monitoring.cases import CASES
from tools.monitoring.rules import OBJECTIVES, Recording, ladder

FOLDER: Final = Path("deploy/prometheus")
_NOTE: Final = "# Made by `python -m tools.monitoring`: change it there.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they read."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def _dumped(value: dict[str, Any]) -> str:
    return _NOTE + yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=140, allow_unicode=True)


def _group(name: str, rules: Sequence[Alert | Recording]) -> dict[str, Any]:
    return {"name": f"goodstrace-{name}", "rules": [each.as_yaml() for each in rules]}


_GROUPS: Final[dict[str, list[dict[str, Any]]]] = {
    "ladder": [_group("ladder", ladder())],
    "objectives": [_group(f"objective-{each.name}", each.recordings()) for each in OBJECTIVES],
    "burns": [_group("burns", burns())],
    "alerts": [_group("alerts", ALERTS)],
}
"""By the name of their file: those of objectives by themselves, so that tests evaluate few rules."""


def files() -> dict[Path, str]:
    """Give the rules and their tests, by path."""
    rules = {FOLDER / f"rules/{name}.yml": _dumped({"groups": groups}) for name, groups in _GROUPS.items()}
    return {
        **rules,
        FOLDER / "tests/ladder.yml": _tests("5m", "ladder", "alerts"),
        FOLDER / "tests/alerts.yml": _tests("1m", "alerts"),
        FOLDER / "tests/slow_alerts.yml": _tests("10m", "alerts"),
        FOLDER / "tests/burns.yml": _tests("2m", "objectives", "burns"),
        FOLDER / "tests/slow_burns.yml": _tests("2h", "objectives", "burns"),
    }


def _tests(step: str, *rules: str) -> str:
    """Gather the tests of one step: three days in minutes would take promtool minutes."""
    is_burn = "burns" in rules
    cases = [case for case in CASES if case.step == step and case.alert.endswith("Burn") is is_burn]
    return _dumped(
        {
            "rule_files": [f"../rules/{each}.yml" for each in rules],
            "evaluation_interval": step,
            # Else in any order, and an alert would see what was recorded a step ago: nothing, where that is too long.
            "group_eval_order": [each["name"] for name in rules for each in _GROUPS[name]],
            "tests": [test for case in cases for test in case.as_yaml()],
        }
    )
