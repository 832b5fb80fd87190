"""Checking one log, fed in order: what is sealed, and what is derived from it. Pure.

Memory does not grow with the log: what is remembered is the tree's right edge. After a block that is broken the edge is
taken from the stored tiles where they give the root of a signed header, so that one fault is not told again of every block
that follows.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from goodstrace import block as blocks
from goodstrace.block import BlockHeader
from goodstrace.checkpoint import Checkpoint, open_checkpoint
from goodstrace.errors import TreeError, VerificationError
from goodstrace.merkle import HASH_SIZE
from goodstrace.note import parse_note
from goodstrace.policy import Policy
from goodstrace.tiles import TILE_BYTES, TILE_WIDTH, TileEdge, edge_tiles
from services.sealing import core
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.headers import HeaderCheck
from services.sealing.fsck.keyring import Keyring
from services.sealing.fsck.packs import PackCheck, Place
from services.sealing.fsck.row_sums import MOST_LOST, RowSums, Sums
from services.sealing.fsck.rows import CheckpointRow, Malformed, TileName, TileRow
from services.sealing.fsck.saved import Saved, SavedCheck
from services.sealing.values import Head, LogInfo, Pack, StoredBlock, StoredCheckpoint

TileData = Mapping[TileName, bytes]
_NOTHING: Final[TileData] = {}


class Edge(msgspec.Struct, frozen=True):
    """Where a check of a log stands between two blocks.

    Attributes:
        height: of the next block. `tree`: the edge of the tree before it.
        previous: the header before it, None where that was missing or malformed.
        sound: whether `tree` is what a signed header says.
        newest: the checkpoint of the block before, as stored. `satisfying`: the newest that has the policy's quorum.
        compared: number of saved checkpoints compared.
        sums: what the index by tag must hold of the blocks before.
    """

    height: int = 0
    tree: TileEdge = TileEdge()
    previous: bytes | None = None
    sound: bool = True
    newest: StoredCheckpoint | None = None
    satisfying: StoredCheckpoint | None = None
    compared: int = 0
    sums: Sums | None = None

    @property
    def size(self) -> int:
        """Number of leaves before the next block."""
        return self.tree.frontier.size


class LogVerifier:
    """Checks one log: for each block `around`, `block`, `checkpoint`, now and then `tiles`, in the end `head` and `ended`."""

    def __init__(
        self,
        info: LogInfo,
        keyring: Keyring,
        *,
        policy: Policy | None = None,
        saved: Sequence[Saved] = (),
        edge: Edge | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        """Begin, or go on from an edge with what was found before it.

        Args:
            info: the log.
            keyring: its keys.
            policy: whose witnesses' cosignatures are checked.
            saved: checkpoints kept elsewhere, which the log must be consistent with.
            edge: where to go on; None for the beginning.
            verdict: what was found before.
        """
        self.verdict = verdict or Verdict(log=info.name)
        self.edge = edge or Edge()
        self._info = info
        self._log = info.name
        self._keys = keyring
        self._policy = policy
        self._saved = SavedCheck(saved, self.verdict, self.edge.compared)
        self.sums = RowSums(self.edge.sums)
        self.packs = PackCheck(self.verdict, self.sums)
        self._headers = HeaderCheck(self.verdict, keyring)
        self._pending: dict[TileName, bytes] = dict(_partial(self.edge.tree))
        if edge is None:
            for problem in keyring.problems:
                self.verdict.found("key", problem)

    def progress(self) -> Edge:
        """Give the edge with all that is needed to go on from it another time."""
        return msgspec.structs.replace(self.edge, sums=self.sums.sums())

    @property
    def height(self) -> int:
        """The next block's height."""
        return self.edge.height

    @property
    def size(self) -> int:
        """The size of the tree checked so far."""
        return self.edge.size

    # -- blocks --------------------------------------------------------------------------------------------------

    def missing(self, upto: int) -> None:
        """Say that the blocks from the next height up to, not including, `upto` are not there."""
        count = upto - self.height
        there = f"block {self.height} is" if count == 1 else f"blocks {self.height} to {upto - 1} are"
        self.verdict.found("chain", f"{there} missing", block=self.height)
        self._lose(upto)

    def cut_off(self, head: Head) -> None:
        """Say that blocks are missing at the end, where the log has signed for more entries than it has."""
        try:
            signed = open_checkpoint(head.checkpoint.note, self._keys.all())
        except VerificationError:
            return  # the head's own fault
        if signed.size > self.size:
            problem = (
                f"the log is cut off: it has signed for size {signed.size}, the blocks end at {self.size}"
            )
            self.verdict.found("chain", problem, block=self.height)

    def malformed(self, row: Malformed) -> None:
        """Say that the next block cannot be read."""
        self.verdict.found("document", row.problem, block=self.height)
        self._lose(self.height + 1)

    def around(self, block: StoredBlock) -> set[TileName]:
        """Name the tiles that `block` wants because this block does not follow from the edge; none where it does."""
        header = _header(block)
        if header is None or (self.edge.sound and self._root_after(block) == header.root):
            return set()
        sizes = {block.first, block.size, header.first, header.size}
        return {
            (tile.level, tile.n)
            for size in sizes
            if 0 <= size <= blocks.MAX_INTEGER
            for tile in edge_tiles(size)
        }

    def block(
        self, block: StoredBlock, packs: Sequence[Pack | Malformed], tiles: TileData = _NOTHING
    ) -> None:
        """Check the next block, with all packs that begin in its range or that it names, and the tiles `around` it."""
        height = self.height
        header = self._headers.check(block, height, self.edge.previous)
        before = self.edge.tree
        tree, first = self._grown(block, header, tiles)
        self._saved.grown(before.frontier, block.leaves, height)
        hashes = core.split_hashes(block.leaves)
        self.packs.block(block, Place(height, first, header.time if header else None), hashes, packs)
        self.edge = msgspec.structs.replace(
            self.edge, height=height + 1, tree=tree, previous=block.header, compared=self._saved.compared
        )
        self.verdict.blocks += 1
        self.verdict.entries += len(hashes)
        self.verdict.root = tree.frontier.root().hex()

    def _lose(self, height: int) -> None:
        for lost in range(self.height, min(height, self.height + MOST_LOST)):
            self.sums.block(lost, None)
        self.edge = msgspec.structs.replace(self.edge, height=height, previous=None, sound=False, newest=None)

    def _root_after(self, block: StoredBlock) -> str:
        return self._appended(self.edge.tree, block.leaves)[2]

    def _appended(self, tree: TileEdge, leaves: bytes) -> tuple[TileEdge, dict[TileName, bytes], str]:
        """Append leaf hashes; remembers the last, since each block is asked about twice."""
        if self._last is None or self._last[0] is not tree or self._last[1] is not leaves:
            try:
                grown, changed = tree.append(core.split_hashes(leaves))
                self._last = (tree, leaves, (grown, changed, grown.frontier.root().hex()))
            except TreeError:
                self._last = (tree, leaves, (tree, {}, ""))
        return self._last[2]

    _last: tuple[TileEdge, bytes, tuple[TileEdge, dict[TileName, bytes], str]] | None = None

    def _grown(self, block: StoredBlock, header: BlockHeader | None, tiles: TileData) -> tuple[TileEdge, int]:
        """Append the block's leaves; give the tree after it and the index that it begins with.

        1. Onto the edge. 2. Where that does not give the header's root, and blocks before it were broken, onto the tiles
        before it. 3. Else its own leaves are wrong: the tree is taken from the tiles after it, if they give the root.
        """
        if len(block.leaves) % HASH_SIZE:
            self.verdict.found("leaves", f"{len(block.leaves)} bytes are no whole hashes", block=self.height)
        wanted = header.root if header else None
        grown, changed, root = self._appended(self.edge.tree, block.leaves)
        if wanted is None or root == wanted:
            self._sound(sound=wanted is not None and (self.edge.sound or root == wanted))
            self._pending |= changed
            return grown, self.edge.size
        assert header is not None
        before = _from_tiles(header.first, tiles)
        if not self.edge.sound and before is not None:
            grown, changed, root = self._appended(before, block.leaves)
            if root == wanted:
                self._sound(sound=True)
                self._pending = dict(_partial(before)) | changed
                return grown, header.first
        self.verdict.found("root", "leaf hashes do not give the root of the header", block=self.height)
        after = _from_tiles(header.size, tiles)
        if after is not None and after.frontier.root().hex() == wanted:
            self._sound(sound=True)
            self._pending = dict(_partial(after))
            return after, header.first
        self._sound(sound=False)
        self._pending |= changed
        return grown, self.edge.size

    def _sound(self, *, sound: bool) -> None:
        self.edge = msgspec.structs.replace(self.edge, sound=sound)

    # -- beside the blocks ---------------------------------------------------------------------------------------

    def full_tiles(self) -> list[TileName]:
        """Name the full tiles that were not checked yet."""
        return [name for name, data in self._pending.items() if len(data) == TILE_BYTES]

    def edge_tiles(self) -> dict[TileName, bytes]:
        """Give the tiles that were not checked yet, as the blocks make them."""
        return dict(self._pending)

    def tiles(
        self,
        names: Sequence[TileName],
        stored: Mapping[TileName, TileRow | Malformed],
        unpublished: TileData | None = None,
    ) -> dict[TileName, bytes]:
        """Check stored tiles against those that the blocks give; returns those that differ, as they should be.

        With a last block that is not published yet, a tile may also be as it was before that block (`unpublished`).
        """
        wrong = {}
        for level, n in names:
            data = self._pending.pop((level, n))
            row = stored.get((level, n))
            found = row.data if isinstance(row, TileRow) else b""
            allowed = (data,) if unpublished is None else (data, unpublished.get((level, n), b""))
            if found in allowed and not isinstance(row, Malformed):
                continue
            problem = row.problem if isinstance(row, Malformed) else "differs" if row else "is missing"
            self.verdict.found("tile", f"tile {level}/{n}: {problem}", index=n << 8 * (level + 1))
            wrong[level, n] = data
        return wrong

    def checkpoint(self, row: CheckpointRow | Malformed | None, size: int) -> StoredCheckpoint | None:
        """Check the checkpoint of the block checked last, of `size`; returns it as its row should be, if that is wrong."""
        height = self.height - 1
        self.edge = msgspec.structs.replace(self.edge, newest=None)
        if row is None:
            self.verdict.found("checkpoint", f"size {size} has no checkpoint", block=height)
            return None
        if isinstance(row, Malformed):
            self.verdict.found("checkpoint", row.problem, block=height)
            return None
        stored = row.stored
        self.edge = msgspec.structs.replace(self.edge, newest=stored)
        problem = self.note_problem(stored.note, height, size, self.edge.tree.frontier.root())
        if problem:
            self.verdict.found("checkpoint", f"size {size}: {problem}", block=height)
            return None
        self._cosigned(stored, height)
        right = msgspec.structs.replace(stored, log=self._log, size=size, root=self.edge.tree.frontier.root())
        if right == stored and not row.wrong:
            return None
        differing = row.wrong or "log, size or root"
        self.verdict.found(
            "checkpoint.row", f"size {size}: not what its note says: {differing}", block=height
        )
        self.edge = msgspec.structs.replace(self.edge, newest=right)
        return right

    def note_problem(self, note: str, height: int, size: int, root: bytes) -> str:
        """Say what is wrong with a checkpoint's note for a block, a size and a root; empty where nothing is."""
        keys = self._keys.at(height)
        try:
            signed = open_checkpoint(note, keys) if keys else Checkpoint.parse(parse_note(note).text)
        except VerificationError as error:
            return str(error)
        if all(signed.origin != key.name for key in keys) and keys:
            return f"the note is of {signed.origin}"
        if (signed.size, signed.root) != (size, root):
            return "the note is not of the size and root of the blocks"
        return ""

    def _cosigned(self, stored: StoredCheckpoint, height: int) -> None:
        if self._policy is None:
            self.edge = msgspec.structs.replace(self.edge, satisfying=stored)
            return
        try:
            names = self._policy.cosigners(stored.note)
        except VerificationError as error:
            self.verdict.found("cosignature", f"size {stored.size}: {error}", block=height)
            return
        if self._policy.is_satisfied(names):
            self.edge = msgspec.structs.replace(self.edge, satisfying=stored)

    def stray_checkpoint(self, row: CheckpointRow | Malformed) -> None:
        """Report a checkpoint of a size at which no block ends: the log was cut off, or never was so."""
        if isinstance(row, Malformed):
            self.verdict.found("checkpoint", row.problem)
        else:
            problem = f"size {row.stored.size} is signed for, but no block ends there"
            self.verdict.found("checkpoint", problem)

    def ended(self) -> None:
        """Compare what is left of the saved checkpoints: they are larger than the log is."""
        self._saved.ended(self.size)
        self.verdict.saved = self._saved.compared


def tile_count(size: int) -> int:
    """Count the tiles of a tree of `size` leaves, partial ones too."""
    count = 0
    while size:
        count += -(-size // TILE_WIDTH)
        size //= TILE_WIDTH
    return count


def _header(block: StoredBlock) -> BlockHeader | None:
    try:
        return blocks.decode(block.header)
    except VerificationError:
        return None


def _partial(tree: TileEdge) -> dict[TileName, bytes]:
    """Give the tiles at the right edge, which are not full."""
    return {
        (level, tree.frontier.size >> 8 * (level + 1)): data
        for level, data in enumerate(tree.partial)
        if data
    }


def _from_tiles(size: int, tiles: TileData) -> TileEdge | None:
    try:
        return TileEdge.from_tiles(size, tiles)
    except TreeError:
        return None
