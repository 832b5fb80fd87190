"""Every command prints JSON where it is asked to, in one way; those that do not are named here and in the README."""

import importlib
import json
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import click
import msgspec
import pytest

from goodstrace.cli.main import cli
from goodstrace.cli.options import print_json

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = {("audit", "export", "user"), ("dev-witnesses",)}
"""Lines of JSON in any case, and a policy file."""


class Colour(StrEnum):
    RED = "red"


class Pair(msgspec.Struct):
    first: int
    second: Colour


def commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, each in command.commands.items():
        yield from commands(each, (*path, name))


def server_side() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Give those that the project's own file names, as it is here."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for group, entries in groups.items():
        if not group.startswith("goodstrace.commands"):
            continue
        before = tuple(group.split(".")[2:])
        for name, value in entries.items():
            module, _, attribute = value.partition(":")
            yield from commands(getattr(importlib.import_module(module), attribute), (*before, name))


def test_every_command_takes_json_but_those_that_the_readme_names() -> None:
    found = dict((*commands(cli), *server_side()))
    assert len(found) > 70
    without = {
        path for path, command in found.items() if not any("--json" in each.opts for each in command.params)
    }
    assert without == WITHOUT
    readme = (ROOT / "README.md").read_text()
    assert all(f"`{' '.join(path)}`" in readme for path in without)


def test_structs_and_enumerations_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"pairs": (Pair(1, Colour.RED),), "name": "Grüntee"})
    told = capsys.readouterr().out
    assert json.loads(told) == {"pairs": [{"first": 1, "second": "red"}], "name": "Grüntee"}
    assert "Grüntee" in told
