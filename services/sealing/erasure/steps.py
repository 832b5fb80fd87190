"""What a step is by which a service deletes or shows what it keeps of users; which there are says `services.erasure.steps`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from services.runtime.mongo import Database


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
