"""Tables of steps: which step of the supply chain an event belongs to, by business step, disposition, type and action. Pure.

The rows of a table are tried in order; a row holds where each field it names has one of its values ("" stands for no value).
A change of a table is a new version: events keep the step, and the name of the table, they were sealed with.
"""

import hashlib
from functools import lru_cache
from importlib import resources
from typing import Final

import msgspec

from goodstrace.facts import Step
from services.collector.errors import BookError

BUILT_IN: Final = ("1", "2")
_LARGEST: Final = 256 * 1024
_VERSION: Final = 40


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of a table; an empty list of values says nothing about its field."""

    step: Step
    business_step: tuple[str, ...] = ()
    disposition: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    action: tuple[str, ...] = ()

    def holds(self, event_type: str, action: str, business_step: str, disposition: str) -> bool:
        """Say whether the row is about such an event."""
        return (
            (not self.business_step or business_step in self.business_step)
            and (not self.disposition or disposition in self.disposition)
            and (not self.type or event_type in self.type)
            and (not self.action or action in self.action)
        )


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole table as its file says it."""

    version: str
    rules: tuple[Row, ...]
    otherwise: Step


class Steps:
    """A table in use; `name` is what facts call it by: its version, with the digest of its file where it is an operator's."""

    def __init__(self, name: str, table: Table) -> None:
        """Take a table; looking up is remembered for 4,096 kinds of events."""
        self.name = name
        self.table = table
        self.step_of = lru_cache(maxsize=4096)(self._look_up)

    def _look_up(self, event_type: str, action: str, business_step: str, disposition: str) -> Step:
        for row in self.table.rules:
            if row.holds(event_type, action, business_step, disposition):
                return row.step
        return self.table.otherwise


def built_in(version: str) -> Steps:
    """Give a table that comes with the program, by its version (see BUILT_IN)."""
    content = resources.files("services.collector").joinpath(f"steps-{version}.json").read_bytes()
    return Steps(version, msgspec.json.decode(content, type=Table))


def operators(content: bytes) -> Steps:
    """Read an operator's table from the bytes of its file. Raises: BookError."""
    if len(content) > _LARGEST:
        raise BookError(f"is over {_LARGEST} bytes")
    try:
        table = msgspec.json.decode(content, type=Table)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BookError(f"is no table of steps: {error}") from error
    return Steps(named(table.version, content), table)


def named(version: str, content: bytes) -> str:
    """Name an operator's file by its version and the SHA-256 of its bytes. Raises: BookError for a version that is none."""
    if not (
        0 < len(version) <= _VERSION and version.isascii() and version.isprintable() and " " not in version
    ):
        raise BookError(f"its version must be 1 to {_VERSION} visible ASCII characters, not {version!r}")
    return f"{version} sha256:{hashlib.sha256(content).hexdigest()}"
