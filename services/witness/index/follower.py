"""Verifying the leaves of a log `index` one after the other, each from the entries that it newly covers.

1. The leaf is an entry of the log `index`, and follows the one before: nothing that was covered is covered no more.
2. The root log is what the leaf says, and what it pins newly makes up the sizes that the leaf covers.
3. The entries of each log up to its new size are those under the log's signed checkpoint that the root log pins, and the tags
   given with each are what the entry commits to.
4. The run of their rows has the root that the leaf says. A run that was merged is merged here too, from the rows of the runs before.

Memory does not grow with the logs; the rows of live runs lie on disk.
"""

import asyncio
import heapq
from collections.abc import Callable, Collection, Iterator

from goodstrace import root as pins
from goodstrace.checkpoint import open_checkpoint
from goodstrace.completeness import bundles
from goodstrace.completeness import leaf as leaves
from goodstrace.completeness.bundles import TaggedEntry
from goodstrace.completeness.leaf import INDEX_PART, INDEXED_PREFIX, IndexLeaf, Run
from goodstrace.completeness.rows import place_bytes
from goodstrace.entry import Kind
from goodstrace.errors import VerificationError
from goodstrace.log_keys import INDEX_LOG, ROOT_LOG
from goodstrace.merkle import leaf_hash, verify_consistency
from goodstrace.note import Verifier
from goodstrace.tiles import consistency_proof, tiles_for_consistency
from services.runtime.sorting import Sorter
from services.witness.index.errors import IndexWrongError, NotYetError
from services.witness.index.source import IndexSource
from services.witness.index.state import Edge, Files, State, grown

Keys = Callable[[str, int], Collection[Verifier]]
_APPEND_AT_ONCE = 256


class WrongRunError(IndexWrongError):
    """A run of a leaf has other rows than the entries give."""

    def __init__(self, run: Run, leaf: IndexLeaf, number: int, made: Run) -> None:
        super().__init__(
            f"entry {number} of the log `index`: the run {run.since}..{run.to} has {run.rows} rows under {run.root}, and the "
            f"entries give {made.rows} under {made.root}"
        )
        self.run, self.leaf, self.number = run, leaf, number


class LeafVerifier:
    """Verifies leaves of one log `index`, in order."""

    def __init__(self, source: IndexSource, files: Files, keys: Keys, origin: str) -> None:
        """Read from `source`; `keys` gives those that may sign checkpoints of an origin at a size.

        `origin` is that of the log `index`, such as "trace.example/4f1c/index".
        """
        self._source, self._files, self._keys = source, files, keys
        self._platform = origin.removesuffix(f"/{INDEX_LOG}")

    async def verify(self, state: State, tagged: TaggedEntry) -> State:
        """Verify the next leaf; gives the state after it, which is on disk then.

        Raises: NotYetError; IndexWrongError, WrongRunError: the rows of the run as they should be stay on disk.
        """
        number = state.index.size
        leaf = self._leaf(state, tagged)
        root, pinned = await self._root(state, leaf)
        sizes = {
            **{log: edge.size for log, edge in state.logs.items()},
            **{log: at for log, (at, _) in pinned.items()},
        }
        if sizes != leaf.sizes():
            raise IndexWrongError(
                f"entry {number} of the log `index` covers other sizes than the root log pins"
            )
        with Sorter() as sorter:
            logs = dict(state.logs)
            for log, (size, note) in sorted(pinned.items()):
                logs[log] = await self._read(
                    log, logs.get(log, Edge()), (size, note), leaf.numbers()[log], sorter
                )
            await asyncio.to_thread(self._runs, state.leaf, leaf, number, sorter)
        after = State(
            state.origin, grown(state.index, tagged.entry), root, logs, leaf, state.roots
        ).with_root()
        await asyncio.to_thread(self._files.save, after)
        return after

    def _leaf(self, state: State, tagged: TaggedEntry) -> IndexLeaf:
        number = state.index.size
        try:
            entry, _, parts = bundles.verify(tagged)
            leaf = leaves.decode(parts.get(INDEX_PART, b""))
        except VerificationError as error:
            raise IndexWrongError(f"entry {number} of the log `index`: {error}") from error
        before = state.leaf or leaves.empty(leaf.secret)
        if problem := leaves.succession_problem(before, leaf):
            raise IndexWrongError(f"entry {number} of the log `index`: {problem}")
        if entry.kind != Kind.INDEX:
            raise IndexWrongError(f"entry {number} of the log `index` is a {entry.kind}")
        return leaf

    async def _root(self, state: State, leaf: IndexLeaf) -> tuple[Edge, dict[str, tuple[int, str]]]:
        """Read the root log on, up to where the leaf has it; gives the size and checkpoint that each log has pinned last."""
        edge, pinned = state.root.frontier(), dict[str, tuple[int, str]]()
        waiting: list[bytes] = []
        async for index, tagged in self._source.entries(ROOT_LOG, edge.size, leaf.root.size):
            try:
                _, _, parts = bundles.verify(tagged)
                said = pins.decode(parts[pins.CHECKPOINT_PART])
                size = int(said.note.split("\n", 2)[1])
            except (VerificationError, KeyError, ValueError, IndexError) as error:
                raise IndexWrongError(f"{ROOT_LOG}[{index}]: {error}") from error
            before = max(pinned.get(said.log, (0, ""))[0], state.logs.get(said.log, Edge()).size)
            if said.log.startswith(INDEXED_PREFIX) and size > before:
                pinned[said.log] = size, said.note
            waiting.append(leaf_hash(tagged.entry))
            if len(waiting) == _APPEND_AT_ONCE:
                edge, waiting = edge.append(waiting), []
        edge = edge.append(waiting)
        if edge.root().hex() != leaf.root.hash:
            raise IndexWrongError(f"the root log of {edge.size} entries is not the one that the leaf names")
        await self._check_signed(Edge.of(edge))
        return Edge.of(edge), pinned

    async def _check_signed(self, edge: Edge) -> None:
        """Check that the root log that was read is the beginning of the one that is signed."""
        note = await self._source.checkpoint(ROOT_LOG)
        origin = f"{self._platform}/{ROOT_LOG}"
        try:
            size = int(note.split("\n", 2)[1])
            signed = open_checkpoint(note, self._keys_of(origin, size))
            if signed.size < edge.size:
                raise NotYetError(f"the root log is published up to {signed.size} only")
            tiles = await self._source.tiles(ROOT_LOG, tiles_for_consistency(edge.size, signed.size))
            proof = consistency_proof(edge.size, signed.size, tiles) if edge.size < signed.size else []
            verify_consistency(edge.size, edge.frontier().root(), signed.size, signed.root, proof)
        except (VerificationError, ValueError, IndexError) as error:
            raise IndexWrongError(f"{origin}: {error}") from error

    async def _read(self, log: str, edge: Edge, pinned: tuple[int, str], number: int, sorter: Sorter) -> Edge:
        """Read a log on up to the size that is pinned; its new rows go to the sorter."""
        (size, note), frontier = pinned, edge.frontier()
        origin = f"{self._platform}/{log}"
        waiting: list[bytes] = []
        async for index, tagged in self._source.entries(log, edge.size, size):
            try:
                _, tags, _ = bundles.verify(tagged)
            except VerificationError as error:
                raise IndexWrongError(f"{log}[{index}]: {error}") from error
            place = place_bytes(number, index)
            sorter.add([tag + place for tag in tags])
            waiting.append(leaf_hash(tagged.entry))
            if len(waiting) == _APPEND_AT_ONCE:
                frontier, waiting = frontier.append(waiting), []
        frontier = frontier.append(waiting)
        try:
            signed = open_checkpoint(note, self._keys_of(origin, size))
        except VerificationError as error:
            raise IndexWrongError(f"the pinned checkpoint of {origin} at {size}: {error}") from error
        if (signed.size, signed.root) != (size, frontier.root()):
            raise IndexWrongError(f"{origin}: its entries up to {size} are not those under its checkpoint")
        return Edge.of(frontier)

    def _keys_of(self, origin: str, size: int) -> Collection[Verifier]:
        keys = self._keys(origin, size)
        if not keys:
            raise NotYetError(f"no trusted key for {origin}: follow it by --log or --logs-url")
        return keys

    def _runs(self, before: IndexLeaf | None, leaf: IndexLeaf, number: int, sorter: Sorter) -> None:
        """Make each run that is new, and compare. Blocks."""
        known = {run.since: run for run in (before.runs if before else ())}
        since = before.root.size if before else 0
        new = Run("", 0, since, leaf.root.size)
        made = self._files.write(new, sorter.sorted())
        wrong: WrongRunError | None = None
        for run in leaf.runs:
            if known.get(run.since) == run:
                continue
            is_new = (run.since, run.to) == (new.since, new.to)
            made_of = made if is_new else self._merge(run, known, made)
            if made_of != run:
                wrong = wrong or WrongRunError(run, leaf, number, made_of)
        if wrong is not None:  # only now: the proof of it wants the rows of the others too
            raise wrong

    def _merge(self, run: Run, known: dict[int, Run], new: Run) -> Run:
        parts, reached = leaves.merged_from(run, known)
        if (reached, run.to) == (new.since, new.to):
            parts, reached = [*parts, new], new.to
        if reached != run.to or not parts:
            raise IndexWrongError(f"the run {run.since}..{run.to} is not made of runs that there were")
        rows: list[Iterator[bytes]] = [self._files.read(part) for part in parts]
        return self._files.write(run, heapq.merge(*rows))
