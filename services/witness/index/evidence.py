"""Finding what a wrong run leaves out, and proving it to anybody: see goodstrace.completeness.wrong_index."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from goodstrace.checkpoint import Checkpoint
from goodstrace.completeness import bundles, wrong_index
from goodstrace.completeness.leaf import INDEX_PART
from goodstrace.completeness.rows import Row, decode, run_root, split
from goodstrace.entry import TAG_BYTES
from goodstrace.errors import VerificationError
from goodstrace.log_keys import INDEX_LOG
from goodstrace.merkle import Range, inclusion_path, leaf_hash, root_of
from goodstrace.note import parse_note
from goodstrace.proof_file import ProofFile
from goodstrace.tiles import inclusion_proof, tiles_for_inclusion
from services.witness.index.errors import NotYetError
from services.witness.index.follower import WrongRunError
from services.witness.index.source import IndexSource
from services.witness.index.state import Files, State, pages_of, read_rows

_CHUNK_ROWS = 512


async def prove_wrong(
    source: IndexSource, files: Files, state: State, note: str, error: WrongRunError
) -> bytes | None:
    """Make the file that proves a run wrong; None where the service does not show the rows that it has sealed.

    Args:
        source: the service.
        files: has the run's rows as they should be.
        state: before the wrong leaf.
        note: the checkpoint of the log `index` that was to be cosigned; it holds the leaf.
        error: says which run.
    Raises: NotYetError; OSError.
    """
    with tempfile.NamedTemporaryFile(suffix=".rows") as shown:
        path = Path(shown.name)
        if not await _fetch(source, error, path):
            return None
        missing = _first_missing(files.read(error.run), read_rows(path))
        if missing is None:
            return None
        pieces = []
        for run in error.leaf.runs:
            of_run = path if run == error.run else files.rows(run)
            if (found := pages_of(of_run, missing.tag)) is not None:
                pieces.append(found)
    log = error.leaf.logs[missing.log].log
    entry, tags = await _entry(source, log, missing.entry)
    index, leaf = await _index(source, state, note)
    return wrong_index.encode(wrong_index.make(entry, index, leaf, tags, (missing.tag, pieces)))


async def _fetch(source: IndexSource, error: WrongRunError, path: Path) -> bool:
    """Read the rows that the service has of the run; tell whether they are those under the root that it sealed."""
    run = error.run
    with path.open("wb") as file:
        for n in range(-(-run.rows // _CHUNK_ROWS)):
            file.write(await source.chunk(f"{run.since}-{run.to}", n))
    try:
        return run_root(read_rows(path)) == (run.rows, bytes.fromhex(run.root))
    except VerificationError:
        return False


def _first_missing(expected: Iterator[bytes], shown: Iterator[bytes]) -> Row | None:
    """Find the first row that should be there and is not."""
    there = next(shown, None)
    for row in expected:
        while there is not None and there < row:
            there = next(shown, None)
        if there != row:
            return decode(row)
    return None


async def _entry(source: IndexSource, log: str, index: int) -> tuple[ProofFile, list[bytes]]:
    """Get the entry that is left out, with its proof under the log's published checkpoint, and its tags."""
    note = await source.checkpoint(log)
    try:
        size = Checkpoint.parse(parse_note(note).text).size
        tiles = await source.tiles(log, tiles_for_inclusion(index, size))
        hashes = inclusion_proof(index, size, tiles)
    except VerificationError as error:
        raise NotYetError(f"{log}[{index}]: {error}") from error
    async for _, tagged in source.entries(log, index, index + 1):
        proof = ProofFile(index, tuple(hashes), note, tagged.entry)
        return proof, split(tagged.tags, TAG_BYTES)
    raise NotYetError(f"{log}[{index}] is not given")


async def _index(source: IndexSource, state: State, note: str) -> tuple[ProofFile, tuple[bytes, bytes]]:
    """Make the proof of the leaf in the log `index`: what is before it is known, what is behind it is read."""
    number, size = state.index.size, Checkpoint.parse(parse_note(note).text).size
    entries = [tagged async for _, tagged in source.entries(INDEX_LOG, number, size)]
    hashes = [leaf_hash(each.entry) for each in entries]
    left = _frontier_ranges(state)
    proof = [
        left[subtree]
        if subtree.end <= number
        else root_of(hashes[subtree.start - number : subtree.end - number])
        for subtree in inclusion_path(number, size)
    ]
    bundles.verify(entries[0])
    part = next(each for each in entries[0].parts if each.name == INDEX_PART)
    return ProofFile(number, tuple(proof), note, entries[0].entry), (part.salt, part.content)


def _frontier_ranges(state: State) -> dict[Range, bytes]:
    """Give the hashes of the complete subtrees that the log `index` had before, by what they cover."""
    found, start = {}, 0
    size = state.index.size
    for hash_ in state.index.hashes:
        width = 1 << ((size - start).bit_length() - 1)
        found[Range(start, start + width)] = hash_
        start += width
    return found
