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


def files() -> dict[Path, str]:
    """Give the rules and their tests, by path; rules and tests of objectives by themselves, so that tests evaluate few."""
    objectives = [
        {"name": f"goodstrace-objective-{each.name}", "rules": [rule.as_yaml() for rule in each.recordings()]}
        for each in OBJECTIVES
    ]
    return {
        FOLDER / "rules/ladder.yml": _group("goodstrace-ladder", ladder()),
        FOLDER / "rules/objectives.yml": _dumped({"groups": objectives}),
        FOLDER / "rules/burns.yml": _group("goodstrace-burns", burns()),
        FOLDER / "rules/alerts.yml": _group("goodstrace-alerts", ALERTS),
        FOLDER / "tests/ladder.yml": _tests("5m", "ladder", "alerts"),
        FOLDER / "tests/alerts.yml": _tests("1m", "alerts"),
        FOLDER / "tests/slow_alerts.yml": _tests("10m", "alerts"),
        FOLDER / "tests/burns.yml": _tests("2m", "objectives", "burns"),
        FOLDER / "tests/slow_burns.yml": _tests("1h", "objectives", "burns"),
    }


def _group(name: str, rules: Sequence[Alert | Recording]) -> str:
    return _dumped({"groups": [{"name": name, "rules": [each.as_yaml() for each in rules]}]})


def _tests(step: str, *rules: str) -> str:
    """Gather the tests of one step: three days in minutes would take promtool minutes."""
    is_burn = "burns" in rules
    cases = [case for case in CASES if case.step == step and case.alert.endswith("Burn") is is_burn]
    return _dumped(
        {
            "rule_files": [f"../rules/{each}.yml" for each in rules],
            "evaluation_interval": step,
            "tests": [test for case in cases for test in case.as_yaml()],
        }
    )
