"""`goodstrace recall` shows what is withheld as `goodstrace trace` does, and its files list it."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from goodstrace.cli import recall as recall_cli
from goodstrace.cli import trace as trace_cli
from goodstrace.cli.main import cli
from goodstrace.visibility import Visibility, VisibilityPolicy
from tests.unit.test_recall_sheets import cells
from tests.unit.visible_world import ITEM, SHOP, STRANGER, World

EVERYBODY = VisibilityPolicy(Visibility.PUBLIC)
WITHHELD = ("Log", "Index", "Merchant", "Record ID", "Recorded", "Found by", "Name")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    def ran(world: World, viewer: int, *arguments: str) -> str:
        monkeypatch.setattr(recall_cli, "connect", lambda **_: world.client(viewer))
        done = CliRunner().invoke(cli, list(arguments))
        assert done.exit_code == 0, done.output
        return done.output

    return ran


def test_it_lists_what_is_withheld_as_the_trace_does(run: Any) -> None:
    world = World({})
    recalled = json.loads(run(world, STRANGER, "recall", ITEM, "--json"))
    traced = trace_cli.as_document(world.client(STRANGER).trace(ITEM, direction="downstream"))
    assert recalled["withheld_entries"] == traced["withheld_entries"]
    assert recalled["total_withheld"] == len(recalled["withheld_entries"]) == 4
    text = re.sub(r"\s+", " ", run(world, STRANGER, "recall", ITEM))
    assert "4 events withheld by their merchants' policies proved to be sealed" in text
    assert len(re.findall(r"✔ goods/\d\[\d+\] by merchant \d about \(01\)", text)) == 4
    assert "more (--json" not in text


def test_of_many_it_shows_some_and_counts_all(run: Any) -> None:
    world = World({}, copies=5)
    text = re.sub(r"\s+", " ", run(world, STRANGER, "recall", ITEM))
    assert "20 events withheld" in text
    assert len(re.findall("by merchant", text)) == 10
    assert "... and 10 more (--json names them all)" in text


def test_the_workbook_has_a_sheet_of_what_is_withheld_where_anything_is(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "recall.xlsx"
    listed = json.loads(run(World({}), STRANGER, "recall", ITEM, "--json", "--xlsx", str(path)))
    with zipfile.ZipFile(path) as book:
        assert 'name="Withheld"' in book.read("xl/workbook.xml").decode()
        header, *rows = cells(book, 6)
    assert tuple(header) == WITHHELD
    assert [(row[0], int(row[1]), int(row[2]), row[3], row[5], row[6]) for row in rows] == [
        (
            *(each["log"], each["index"], each["merchant"], each["record_id"]),
            *(each["found_by"]["kind"], each["found_by"]["name"]),
        )
        for each in listed["withheld_entries"]
    ]
    assert all(float(row[4]) > 40_000 for row in rows)  # days since 1900
    shown = World(dict.fromkeys((1, 2, 3), EVERYBODY))
    assert (
        json.loads(run(shown, SHOP, "recall", ITEM, "--json", "--xlsx", str(path)))["withheld_entries"] == []
    )
    with zipfile.ZipFile(path) as book:
        assert 'name="Withheld"' not in book.read("xl/workbook.xml").decode()
