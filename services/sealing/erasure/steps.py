"""What packages keep of users beside the logs: each registers how it is deleted, and how it is exported, under entry points."""

from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import entry_points
from typing import Any, Final

import msgspec

from services.runtime.mongo import Database

ERASING: Final = "goodstrace.erasing"
EXPORTING: Final = "goodstrace.exporting"


class Known(msgspec.Struct, frozen=True):
    """A user, as the services know them.

    name: of the account, as records have it. subject: hash of the vault's subject. pseudonyms: those that are still known to be theirs.
    vault: the vault's database.
    """

    name: str
    subject: bytes
    pseudonyms: tuple[str, ...]
    vault: Database


EraseStep = Callable[[Database, Known], Awaitable[int]]
"""Deletes what is kept of a user; gives how many documents. May be repeated at any time. Raises: UnavailableError."""
ExportStep = Callable[[Database, Known], AsyncIterator[tuple[str, Any]]]
"""Gives what is kept of a user, piece after piece in bounded memory: of what kind each is, and itself as JSON values. Raises: UnavailableError."""


def erase_steps() -> dict[str, EraseStep]:
    """Load the registered steps of erasing, in the order of their names."""
    return _loaded(ERASING)


def export_steps() -> dict[str, ExportStep]:
    """Load the registered steps of exporting, in the order of their names."""
    return _loaded(EXPORTING)


def _loaded(group: str) -> dict[str, Any]:
    return {each.name: each.load() for each in sorted(entry_points(group=group), key=lambda each: each.name)}
