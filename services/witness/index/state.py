"""What an index witness remembers: how far each log was read, the last leaf that it verified, and the rows of its runs.

One small file that is replaced as a whole, and a file of sorted rows for each live run, 24 bytes a row, named by what it covers. The
state is written after the rows: whatever dies in between, rows that no state names are written again.
"""

import mmap
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from goodstrace.completeness.leaf import IndexLeaf, Run
from goodstrace.completeness.proof import RunPages
from goodstrace.completeness.rows import PAGE_BYTES, PAGE_ROWS, ROW_BYTES, hashed, page_count
from goodstrace.merkle import Frontier, leaf_hash, leaf_hashes
from goodstrace.merkle_ranges import range_path
from services.runtime.files import replace_whole
from services.witness.index.errors import NotYetError

MOST_ROOTS: Final = 64
_READ_ROWS: Final = 4096
_PAGES_AT_ONCE: Final = 1024


class Edge(msgspec.Struct, frozen=True):
    """The right edge of a log's tree, see goodstrace.merkle.Frontier."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def frontier(self) -> Frontier:
        """Give it as the tree code takes it."""
        return Frontier(self.size, self.hashes)

    @classmethod
    def of(cls, frontier: Frontier) -> "Edge":
        """Take it from there."""
        return cls(frontier.size, frontier.hashes)


class State(msgspec.Struct, frozen=True):
    """What was verified.

    Attributes:
        origin: of the log `index`.
        index: its edge: that of the leaves verified.
        root: the edge of the root log, where the last leaf has it.
        logs: the edges of the logs covered, by name.
        leaf: the last leaf; None where there is none.
        roots: roots of the log `index` by size, the newest MOST_ROOTS.
    """

    origin: str
    index: Edge = Edge()
    root: Edge = Edge()
    logs: dict[str, Edge] = {}
    leaf: IndexLeaf | None = None
    roots: dict[str, str] = {}

    def with_root(self) -> "State":
        """Note the root of the log `index` as it is now."""
        roots = {**self.roots, str(self.index.size): self.index.frontier().root().hex()}
        newest = sorted(roots, key=int)[-MOST_ROOTS:]
        return msgspec.structs.replace(self, roots={size: roots[size] for size in newest})


class Files:
    """The folder. Its methods block. Raises: NotYetError where the disk does not do what it should."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, made where it is not there."""
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise NotYetError(f"{folder}: {error}") from error

    def load(self, origin: str) -> State:
        """Read the state; an empty one where there is none. Raises: NotYetError, also where it is of another log."""
        try:
            state = msgspec.json.decode((self._folder / "state.json").read_bytes(), type=State)
        except FileNotFoundError:
            return State(origin)
        except (OSError, msgspec.MsgspecError) as error:
            raise NotYetError(f"{self._folder}: {error}: remove the folder to begin anew") from error
        if state.origin != origin:
            raise NotYetError(f"{self._folder} is of {state.origin}: an index witness follows one platform")
        return state

    def save(self, state: State) -> None:
        """Put the state on disk, then remove the rows of runs that its leaf does not name."""
        try:
            replace_whole(self._folder / "state.json", msgspec.json.encode(state), mode=0o600)
            live = {self.rows(run).name for run in (state.leaf.runs if state.leaf else ())}
            for path in self._folder.glob("*.rows"):
                if path.name not in live:
                    path.unlink()
        except OSError as error:
            raise NotYetError(f"{self._folder}: {error}") from error

    def rows(self, run: Run) -> Path:
        """Name the file of a run's rows."""
        return self._folder / f"{run.since}-{run.to}.rows"

    def write(self, run: Run, rows: Iterable[bytes]) -> Run:
        """Write sorted rows as those of a run; gives the run that they are."""
        count, frontier = 0, Frontier()
        try:
            with self.rows(run).open("wb") as file:
                for part in hashed(rows):
                    file.write(part.data)
                    count, frontier = part.rows, part.frontier
        except OSError as error:
            raise NotYetError(f"{self._folder}: {error}") from error
        return Run(frontier.root().hex(), count, run.since, run.to)

    def read(self, run: Run) -> Iterator[bytes]:
        """Give the rows of a run in order."""
        return read_rows(self.rows(run))


def read_rows(path: Path) -> Iterator[bytes]:
    """Give the rows in a file in order. Raises: OSError."""
    with path.open("rb") as file:
        while data := file.read(_READ_ROWS * ROW_BYTES):
            yield from (data[at : at + ROW_BYTES] for at in range(0, len(data), ROW_BYTES))


def pages_of(path: Path, tag: bytes) -> RunPages | None:
    """Prove the rows of a tag in the run whose rows are in a file, all in one piece; None where the run has no row.

    The file is read once for each hash of the proof, in all once; this is for evidence, not for speed. Raises: OSError.
    """
    count = path.stat().st_size // ROW_BYTES
    if not count:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:

        def row(number: int) -> bytes:
            return data[number * ROW_BYTES : (number + 1) * ROW_BYTES]

        first = bisect_left(range(count), tag, key=row)
        after = bisect_left(range(count), tag + b"\xff" * (ROW_BYTES - len(tag) + 1), key=row)
        page, end = max(0, first - 1) // PAGE_ROWS, min(after, count - 1) // PAGE_ROWS + 1
        hashes = []
        for subtree in range_path(page, end, page_count(count)):
            frontier = Frontier()
            for start in range(subtree.start, subtree.end, _PAGES_AT_ONCE):
                stop = min(subtree.end, start + _PAGES_AT_ONCE)
                some = [data[at * PAGE_BYTES : (at + 1) * PAGE_BYTES] for at in range(start, stop)]
                frontier = frontier.append(leaf_hashes(some))
            hashes.append(frontier.root())
        return RunPages(page, data[page * PAGE_BYTES : end * PAGE_BYTES], tuple(hashes))


def grown(edge: Edge, entry: bytes) -> Edge:
    """Append an entry to a log's edge."""
    return Edge.of(edge.frontier().append([leaf_hash(entry)]))
