"""Every `goodstrace ...` and `make ...` that the pages of operations tell to run is there, with the options that they name."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from goodstrace.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted((DOCS / "runbooks").glob("*.md")), DOCS / "doctor.md", DOCS / "backup.md"]
CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
ENDS = re.compile(r"\s(?:\||&&|;|>|#|\\|\s{2,}\S).*$")


def commands(text: str, word: str) -> Iterator[str]:
    for block, span in CODE.findall(text):
        for line in (block or span).splitlines():
            found = re.search(rf"(?:^|\s){word} (.*)$", line.strip())
            if found:
                yield ENDS.sub("", found[1]).strip()


def fault(words: list[str]) -> str:
    """Say what is wrong with a command line of `goodstrace`, empty where it could be run."""
    context, command = click.Context(cli), cli
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name in ("...", "COMMAND"):
            return ""
        found = command.get_command(context, name)
        if found is None:
            return f"no command {name}"
        command, context = found, click.Context(found, context)
    known = {name for each in command.get_params(context) for name in (*each.opts, *each.secondary_opts)}
    for word in rest:
        if word.startswith("-") and word.partition("=")[0] not in known:
            return f"no option {word}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_are_there(page: Path) -> None:
    wrong = {
        line: problem
        for line in commands(page.read_text(encoding="utf-8"), "goodstrace")
        if (problem := fault(shlex.split(line)))
    }
    assert not wrong


def test_the_targets_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for line in commands(page.read_text(encoding="utf-8"), "make"):
            assert line.split()[0] in targets, (page.name, line)


def test_what_is_wrong_is_found() -> None:
    assert fault(["fsck", "--kafka"]) == ""
    assert fault(["fsck", "--mongo"]) == "no option --mongo"
    assert fault(["keys", "forget"]) == "no command forget"
    assert list(
        commands("`goodstrace fsck --kafka` and\n```\ngoodstrace doctor --json | jq .\n```", "goodstrace")
    ) == [
        "fsck --kafka",
        "doctor --json",
    ]
