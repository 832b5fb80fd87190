"""Checkpoints that somebody kept elsewhere: is the log still consistent with them? Reading them, and comparing. Pure.

Two things can have happened to a log that is not: it was *rolled back* (it is smaller than the saved checkpoint), or it was
*rewritten* (it does not begin with what it was).
"""

from collections.abc import Sequence

import msgspec

from goodstrace.errors import TreeError
from goodstrace.merkle import HASH_SIZE
from goodstrace.tiles import TileEdge
from services.sealing import core
from services.sealing.fsck.faults import Verdict


class Saved(msgspec.Struct, frozen=True, order=True):
    """A saved checkpoint whose signature was verified: size, root (32 bytes), and where it was read from."""

    size: int
    root: bytes
    source: str


class SavedCheck:
    """Compares saved checkpoints of one log as it grows past their sizes."""

    def __init__(self, saved: Sequence[Saved], verdict: Verdict, compared: int = 0) -> None:
        """Begin, or go on after `compared` of them."""
        self._saved = sorted(saved)
        self._verdict = verdict
        self.compared = compared
        self._agreed = 0

    def grown(self, tree: TileEdge, leaves: bytes, height: int) -> None:
        """Compare those up to the size that the tree has with these leaf hashes, which block `height` appended."""
        end = tree.frontier.size + len(leaves) // HASH_SIZE
        while self.compared < len(self._saved) and self._saved[self.compared].size <= end:
            saved = self._saved[self.compared]
            self.compared += 1
            upto = saved.size - tree.frontier.size
            if upto < 0:
                problem = f"{saved.source}: the blocks around size {saved.size} are missing"
                self._verdict.found("rewritten", problem, block=height, index=self._agreed)
                continue
            try:
                root = tree.frontier.append(core.split_hashes(leaves[: upto * HASH_SIZE])).root()
            except TreeError:
                root = b""
            if root == saved.root:
                self._agreed = saved.size
                continue
            problem = (
                f"{saved.source}: the root of size {saved.size} was {saved.root.hex()} and is {root.hex()} now:"
                f" rewritten, at index {self._agreed} or later, before index {saved.size}"
            )
            self._verdict.found("rewritten", problem, block=height, index=self._agreed)

    def ended(self, size: int) -> None:
        """Report those that are larger than the log has become."""
        for saved in self._saved[self.compared :]:
            problem = f"{saved.source}: was of size {saved.size}, the log has {size}: rolled back"
            self._verdict.found("rolled-back", problem, index=size)
        self.compared = len(self._saved)
