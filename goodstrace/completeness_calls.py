"""Asking the query service for proofs of completeness, and verifying every one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from goodstrace import entry as entries
from goodstrace.complete import MAX_ROWS, Complete, NameRows, TooMuchError, claim
from goodstrace.completeness import leaf as leaves
from goodstrace.completeness import wrong_index
from goodstrace.completeness.leaf import INDEX_PART, IndexLeaf
from goodstrace.completeness.proof import RunPages, TagRows
from goodstrace.entry import Kind, Position, TagKind
from goodstrace.errors import AnswerError, CallError, EntryError, LeftOutError, WrongIndexError
from goodstrace.grouping import grouped
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import INDEX_LOG
from goodstrace.proof_file import ProofFile
from goodstrace.query.v1 import completeness_pb2
from goodstrace.tracing.events import names as names_of
from goodstrace.tracing.model import Name
from goodstrace.tracing.names import TAG_KINDS
from goodstrace.verification import VerifiedCheckpoint, VerifiedEntry, verify_entry

MAX_NAMES: Final = 64
MAX_POSITIONS: Final = 1000
_NOT_GIVEN: Final = ("NOT_FOUND", "OUT_OF_RANGE", "INVALID_ARGUMENT", "DATA_LOSS", "PERMISSION_DENIED")

ProveComplete = Callable[[completeness_pb2.ProveCompleteRequest], completeness_pb2.ProveCompleteResponse]
GetRecords = Callable[[completeness_pb2.GetRecordsRequest], completeness_pb2.GetRecordsResponse]


class ServiceProver:
    """Proofs for one answer, all under one leaf; believes nothing that it is given."""

    def __init__(
        self,
        secret: bytes,
        checkpoints: Mapping[str, VerifiedCheckpoint],
        *,
        key: str,
        purpose: str,
        prove: ProveComplete,
        get_records: GetRecords,
        opened: Callable[[log_pb2.Checkpoint], VerifiedCheckpoint],
    ) -> None:
        """Prove what was answered.

        Args:
            secret: the index secret; the leaf must commit to it.
            checkpoints: verified, that the answer was made from.
            key: that was traced, for the record.
            purpose: for the record.
            prove: the service's call.
            get_records: the service's call.
            opened: verifies a checkpoint of the log `index`, and that it contains what was seen of it before.
        """
        self._secret, self._checkpoints, self._key, self._purpose = secret, checkpoints, key, purpose
        self._call, self._get_records, self._opened = prove, get_records, opened
        self._as_of = [
            log_pb2.LogSize(log=log, size=each.checkpoint.size) for log, each in sorted(checkpoints.items())
        ]
        self._index: VerifiedCheckpoint | None = None
        self._leaf: IndexLeaf | None = None
        self._claim: Mapping[str, int] = {}
        self.entry: VerifiedEntry | None = None
        self._names = self._rows = self._newer = self._proof_bytes = self._withheld = 0

    @property
    def leaf(self) -> IndexLeaf:
        """The verified leaf."""
        assert self._leaf is not None, "no rows were asked for"
        return self._leaf

    def rows(self, names: Sequence[Name]) -> Mapping[Name, NameRows]:
        """See Prover. Raises: ProofError, EntryError, AnswerError, LeftOutError, TooMuchError, CallError."""
        found: dict[Name, NameRows] = {}
        for start in range(0, len(names), MAX_NAMES):
            self._prove(names[start : start + MAX_NAMES], found)
        return found

    def records(self, positions: Sequence[Position]) -> Sequence[VerifiedEntry]:
        """See Prover."""
        found: list[VerifiedEntry] = []
        while len(found) < len(positions):
            some = positions[len(found) : len(found) + MAX_POSITIONS]
            request = completeness_pb2.GetRecordsRequest(
                positions=[completeness_pb2.Position(log=log, index=index) for log, index in some],
                as_of=self._as_of,
                key=self._key,
                purpose=self._purpose,
            )
            try:
                answer = self._get_records(request)
            except CallError as error:
                if error.code not in _NOT_GIVEN:
                    raise
                raise LeftOutError(
                    f"{some[0][0]}[{some[0][1]}] or one after it is not given: {error}"
                ) from error
            given = [verify_entry(each, self._checkpoints) for each in answer.records[: len(some)]]
            if not given or [(each.log, each.index) for each in given] != list(some[: len(given)]):
                raise LeftOutError(f"{some[0][0]}[{some[0][1]}] or one after it is not given")
            found += given
        self._withheld += sum(each.is_hidden for each in found)
        return found

    def covers(self, log: str, index: int) -> bool:
        """See Prover."""
        return index < self._claim.get(log, 0)

    def wrong_index(self, entry: VerifiedEntry, name: Name) -> WrongIndexError:
        """See Prover: asks once more for the rows of the name, and keeps the pages."""
        pieces: list[RunPages] = []
        self._prove([name], {}, pieces)
        assert self._index is not None
        assert self.entry is not None
        tags = entries.tag_set(self._secret, _named(entry))
        tag = entries.tag(self._secret, TAG_KINDS[name[0]], name[1])
        place = f"{entry.log}[{entry.index}]"
        if tag not in tags or entries.tags_commitment(tags) != entry.entry.tags:
            raise AnswerError(f"{place}: its tags are not those of its facts")
        under = self._checkpoints[entry.log]
        proof = wrong_index.make(
            ProofFile(entry.index, entry.inclusion_proof, under.note, entries.encode(entry.entry)),
            ProofFile(
                self.entry.index,
                self.entry.inclusion_proof,
                self._index.note,
                entries.encode(self.entry.entry),
            ),
            (self.entry.salts[INDEX_PART], self.entry.parts[INDEX_PART]),
            tags,
            (tag, pieces),
        )
        return WrongIndexError(
            f"the index covers {place} and has no row of it under {name[1]}: it is wrong",
            wrong_index.encode(proof),
        )

    def shown(self, sizes: Mapping[str, int]) -> Complete:
        """Say what was shown of the answer, once it was checked."""
        assert self._index is not None
        root, is_whole = self.leaf.root, sizes == self.leaf.sizes()
        return Complete(
            sizes=sizes,
            root_size=root.size if is_whole else None,
            root_hash=root.hash,
            index_size=self._index.checkpoint.size,
            names=self._names,
            rows=self._rows,
            newer=self._newer,
            proof_bytes=self._proof_bytes,
            withheld=self._withheld,
        )

    def _prove(
        self, names: Sequence[Name], found: dict[Name, NameRows], kept: list[RunPages] | None = None
    ) -> None:
        waiting = list(names)
        part: TagRows | None = None  # of the first of them, where it was proved in part
        while waiting:
            answer = self._call(self._request(waiting, part))
            self._take_leaf(answer)
            if not 0 < len(answer.proofs) <= len(waiting):
                raise AnswerError("the service gives no proofs, or more than were asked for")
            self._proof_bytes += answer.ByteSize()
            for given in answer.proofs:
                tag = entries.tag(self._secret, TAG_KINDS[waiting[0][0]], waiting[0][1])
                rows = part if part is not None else TagRows(self.leaf, tag)
                part = None
                for piece in given.pieces:
                    pages = RunPages(piece.first_page, piece.pages, tuple(piece.hashes))
                    rows.add(pages)
                    if kept is not None:
                        kept.append(pages)
                    if self._rows + len(rows.rows) > MAX_ROWS:
                        raise TooMuchError(f"the names of this answer have over {MAX_ROWS} rows")
                if not rows.is_whole:
                    if not given.pieces:
                        raise AnswerError("the service does not go on with a proof")
                    part = rows
                    break
                found[waiting.pop(0)] = self._taken(rows, given)

    def _request(self, names: Sequence[Name], part: TagRows | None) -> completeness_pb2.ProveCompleteRequest:
        request = completeness_pb2.ProveCompleteRequest(
            names=[
                completeness_pb2.Name(
                    kind=completeness_pb2.NameKind.ValueType(TAG_KINDS[kind].value), text=text
                )
                for kind, text in names
            ],
            index_size=self._index.checkpoint.size if self._index else 0,
            as_of=self._as_of,
            purpose=self._purpose,
        )
        if part is not None:
            request.start_run = part.run
            if part.page is not None:
                request.start_page = part.page
        return request

    def _take_leaf(self, answer: completeness_pb2.ProveCompleteResponse) -> None:
        """Verify the leaf of the first answer; those after must be under the same."""
        if self._index is not None:
            if answer.index.log != INDEX_LOG or _signed(answer.index.note) != _signed(self._index.note):
                raise AnswerError(
                    "the proofs of one answer are under different checkpoints of the log `index`"
                )
            return
        if answer.index.log != INDEX_LOG:
            raise AnswerError(f"asked for the log `index` and got {answer.index.log!r}")
        index = self._opened(answer.index)
        entry = verify_entry(answer.leaf, {INDEX_LOG: index})
        if entry.index != index.checkpoint.size - 1:
            raise AnswerError("the index leaf is not the last entry of its log")
        leaf = leaf_of(entry)
        if leaf.secret != leaves.secret_commitment(self._secret):
            raise AnswerError(
                "the index secret that was given is not the one that the log `index` commits to"
            )
        self._claim = claim(leaf, self._checkpoints)
        self._index, self._leaf, self.entry = index, leaf, entry

    def _taken(self, rows: TagRows, given: completeness_pb2.NameProof) -> NameRows:
        proved = tuple(at for at in rows.positions() if at[1] < self._claim[at[0]])
        newer = tuple((each.log, each.index) for each in given.newer)
        for log, index in newer:
            under = self._checkpoints.get(log)
            if under is None or not self._claim.get(log, 0) <= index < under.checkpoint.size:
                raise AnswerError(
                    f"{log}[{index}] is not newer than what the index covers, or not in the answer's logs"
                )
        self._names, self._rows, self._newer = (
            self._names + 1,
            self._rows + len(proved),
            self._newer + len(newer),
        )
        if self._newer > MAX_ROWS:
            raise TooMuchError(f"the names of this answer have over {MAX_ROWS} newer entries")
        return NameRows(proved, newer)


def _named(entry: VerifiedEntry) -> dict[TagKind, list[str]]:
    """Give the names that an event's facts say, by kind of tag."""
    facts = entry.facts()
    return grouped((TAG_KINDS[kind], text) for kind, text in (names_of(facts) if facts is not None else ()))


def leaf_of(entry: VerifiedEntry) -> IndexLeaf:
    """Read the leaf in a verified entry of the log `index`. Raises: EntryError."""
    if entry.entry.kind != Kind.INDEX or INDEX_PART not in entry.parts:
        raise EntryError(f"{entry.log}[{entry.index}] does not show an index leaf")
    return leaves.decode(entry.parts[INDEX_PART])


def _signed(note: str) -> str:
    return note.partition("\n\n")[0]
