"""How keys and events are written for people."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.table import Table

from goodstrace.asked_keys import elements_of

NOTHING_NAMES_IT: Final = "nothing sealed names this key"
BY_RETIRED_KEY: Final = "  [yellow]signed by a retired key: whoever has that key can have made this up, unless witnesses saw it or you know the checkpoint[/yellow]"
"""Markup: the line below a proof that is worth no more than a retired key."""
_FILE_WIDTH: Final = 160
_ID_CHARS: Final = 32
"""So long is the ID of a record or a look."""
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_FURTHER_LINES: Final = "\n" + 8 * " "


def console() -> Console:
    """Make the console for results: as wide as the terminal, and wide enough for a tree where the output goes elsewhere.

    It shows text as it is: names between colons are keys and values here, never emoji, which no escaping would keep from being replaced.
    """
    return Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else _FILE_WIDTH)


def progress_console() -> Console:
    """Make the console for what is said meanwhile, which goes to standard error; text is shown as it is there too."""
    return Console(highlight=False, emoji=False, stderr=True)


def write_as_is(content: str, out: Console) -> None:
    r"""Write a text as it is: nothing is wrapped and no tab replaced, as a console would.

    A character that acts on the terminal, or on the direction in which a line is read, is written as \uXXXX. Lines behind the first are indented,
    so that none looks like a line of ours.
    """
    shown = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", content)
    out.file.write(shown.replace("\n", _FURTHER_LINES) + "\n")


def id_columns(table: Table, *names: str, ids: Collection[str]) -> None:
    """Add columns; those of `ids` hold what is copied into another command: where there is little room the others give way, and it stays whole on its line."""
    for name in names:
        if name in ids:
            table.add_column(name, no_wrap=True, overflow="fold", min_width=_ID_CHARS)
        else:
            table.add_column(name)


def short(key: str) -> str:
    """Write a canonical GS1 key as GS1 prints it under a barcode, such as (01)09521234543213(21)1; others, and what would not read back, as they are."""
    return "".join(f"({ai}){value}" for ai, value in elements_of(key)) or key


def moment(time_us: int) -> str:
    """Write Unix microseconds as a date and time in UTC, to the minute."""
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M")


def to_second(time_us: int) -> str:
    """Write Unix microseconds as a date and time in UTC, to the second."""
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
