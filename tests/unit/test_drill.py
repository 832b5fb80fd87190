"""The drill's clock: every duration of the rules is shorter by the same factor, and nothing else is changed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.drill.scaling import SCALE, faster
from tests.prometheus import FOLDER

RULES = sorted((FOLDER / "rules").glob("*.yml"))
DURATION = re.compile(r"\[(\d+)(ms|[smhd])\]")
UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def rules(text: str) -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def windows_ms(expr: str) -> list[int]:
    return [int(number) * UNITS_MS[unit] for number, unit in DURATION.findall(expr)]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_windows_and_waits_are_shorter_and_the_rest_is_as_it_was(path: Path) -> None:
    before, after = rules(path.read_text()), rules(faster(path.read_text()))
    assert len(before) == len(after) > 0
    for old, new in zip(before, after, strict=True):
        assert windows_ms(new["expr"]) == [each // SCALE for each in windows_ms(old["expr"])]
        assert windows_ms(f"[{new.get('for', '0s')}]") == [
            each // SCALE for each in windows_ms(f"[{old.get('for', '0s')}]")
        ]
        assert {**new, "expr": "", "for": ""} == {**old, "expr": "", "for": ""}


def test_ages_are_shorter_and_numbers_are_not() -> None:
    assert faster("goodstrace_ledger_root_lag_seconds > 120") == "goodstrace_ledger_root_lag_seconds > 4"
    assert (
        faster("(max by (job) (a_oldest_waiting_seconds) > 60)")
        == "(max by (job) (a_oldest_waiting_seconds) > 2)"
    )
    for same in (
        "sum(lag_records) > 20000",
        "goodstrace_kafka_statistics_timestamp_seconds > 0",
        "rate5m > 0.0144",
    ):
        assert faster(same) == same


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Debian's package prometheus is not installed")
def test_prometheus_takes_them(tmp_path: Path) -> None:
    for path in RULES:
        (tmp_path / path.name).write_text(faster(path.read_text()))
    files = [str(each) for each in sorted(tmp_path.glob("*.yml"))]
    done = subprocess.run(
        ["promtool", "check", "rules", *files], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
