"""Which key must have signed what of a log: its own history, and the key that is trusted from elsewhere. Pure."""

from collections.abc import Iterator

from goodstrace import key_changes
from goodstrace.block import BlockHeader
from goodstrace.errors import NoteError
from goodstrace.note import Verifier
from services.sealing.values import LogInfo


class Keyring:
    """The keys of one log.

    A trusted key may be any one of the log's history: each change of key is signed by both its keys. Where the trusted one
    is none of them, it alone counts.
    """

    def __init__(self, info: LogInfo, trusted: Verifier | None = None) -> None:
        """Take the history that the store has, verified by `documents.log_info`."""
        self.problems: list[str] = list(_problems(info))
        self._info = info
        if trusted is not None and trusted not in self.all():
            self.problems.append(f"the store names {info.vkey}, not the trusted key")
            self._info = LogInfo(info.name, info.origin, trusted.vkey())

    def renew(self, info: LogInfo) -> None:
        """Take the history as it is by now; one that does not go on from what was known is left."""
        if self._info.vkey in (info.vkey, *(change.old for change in info.changes)):
            self._info = info

    def all(self) -> list[Verifier]:
        """Every key that the log has or had, and the one prepared."""
        vkeys = [change.old for change in self._info.changes]
        if self._info.pending is not None:
            vkeys.append(self._info.pending.new)
        known = [_parsed(self._info.vkey), *map(_parsed, vkeys)]
        return [each for each in known if each is not None]

    def at(self, height: int) -> list[Verifier]:
        """The keys that may have signed a block and its checkpoint: one, or two while a change is about to be."""
        keys = [_parsed(key_changes.key_at(self._info.changes, self._info.vkey, height))]
        if self._info.pending is not None and height == self._info.pending.height:
            keys.append(_parsed(self._info.pending.new))
        return [each for each in keys if each is not None]

    def wrong_change(self, header: BlockHeader) -> str:
        """Say how the change of key at this block is not of this block; empty where it is, or there is none."""
        for change in self._info.changes:
            if change.height == header.height and (change.previous, change.size) != (
                header.previous,
                header.first,
            ):
                return "the change of key at this height names another block before it"
        return ""


def _problems(info: LogInfo) -> Iterator[str]:
    named = _parsed(info.vkey)
    if named is None:
        yield f"{info.vkey!r} is no key"
    elif named.name != info.origin:
        yield f"the key is named {named.name}, the log {info.origin}"
    if not info.origin.endswith(f"/{info.name}"):
        yield f"the origin {info.origin} is not of the log {info.name}"


def _parsed(vkey: str) -> Verifier | None:
    try:
        return Verifier.parse(vkey)
    except NoteError:
        return None
