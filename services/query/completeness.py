"""`CompletenessService` over gRPC: proves which entries have a name, and shows those that no answer has shown."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from goodstrace import entry as entries
from goodstrace.completeness import leaf as leaves
from goodstrace.completeness.leaf import INDEX_PART, IndexLeaf
from goodstrace.completeness.proof import MAX_PAGES
from goodstrace.completeness.rows import PAGE_BYTES
from goodstrace.completing import TOKEN_METADATA
from goodstrace.entry import Position
from goodstrace.errors import EntryError
from goodstrace.grouping import grouped
from goodstrace.log_keys import INDEX_LOG
from goodstrace.query.v1 import completeness_pb2, completeness_pb2_grpc
from goodstrace.tracing.events import goods_in
from services.query import completeness_requests as requests
from services.query.completeness_requests import CompleteQuery, RecordsQuery
from services.query.index_gate import IndexGate
from services.query.metrics import QueryMetrics
from services.query.shown import Shown
from services.query.sight import Sight, VisibleLogs, judged
from services.runtime.access.current import principal
from services.runtime.access.networks import grpc_peer
from services.runtime.call_errors import InvalidRequestError, OutOfRangeError
from services.runtime.envelope import content_of
from services.runtime.grpc import Context, caller
from services.sealing import disclosure
from services.sealing.browse import Browse, BrowseRecorder
from services.sealing.completeness.newer import NewerEntries
from services.sealing.completeness.proving import prove
from services.sealing.completeness.store import MongoRuns
from services.sealing.errors import CorruptError, RunGoneError
from services.sealing.reader import LogReader
from services.sealing.showing import checkpoint_message, record_bytes, sizes_of
from services.sealing.values import SealedRecord, StoredCheckpoint

_KIND: Final = "goods"
_PIECE_BYTES: Final = 2048  # bounds what a piece takes beside its pages
_LEAST_PAGES: Final = 8
MOST_NAMES_BYTES: Final = 2**20
"""Of the goods and event hashes that one browse record has: with their tags it stays below what Kafka takes."""


class CompletenessServicer(completeness_pb2_grpc.CompletenessServiceServicer):
    """Answers CompletenessService's calls; errors leave as exceptions, for the interceptor's table."""

    def __init__(
        self,
        reader: LogReader,
        recorder: BrowseRecorder,
        runs: MongoRuns,
        newer: NewerEntries,
        *,
        sight: Sight,
        secret: bytes,
        gate: IndexGate,
        page_bytes: int,
        max_calls: int,
        metrics: QueryMetrics,
        log: structlog.stdlib.BoundLogger,
    ) -> None:
        """Prove from `runs` under `reader`'s logs. An answer stops at `page_bytes`; `max_calls` are made at a time."""
        self._reader, self._runs, self._newer = reader, runs, newer
        self._shown = Shown(recorder, metrics, log)
        self._sight = sight
        self._secret, self._gate, self._page_bytes = secret, gate, page_bytes
        self._turns = asyncio.Semaphore(max_calls)

    async def GetIndexSecret(  # noqa: N802 - the name in the proto
        self, _request: completeness_pb2.GetIndexSecretRequest, context: Context
    ) -> completeness_pb2.GetIndexSecretResponse:
        """Give the index secret; see completeness.proto."""
        self._let_through(context)
        return completeness_pb2.GetIndexSecretResponse(secret=self._secret)

    async def ProveComplete(  # noqa: N802 - the name in the proto
        self, request: completeness_pb2.ProveCompleteRequest, context: Context
    ) -> completeness_pb2.ProveCompleteResponse:
        """Prove which entries have names; see completeness.proto."""
        self._let_through(context)  # names of places and parties find what a viewer may not even be told of
        user, query = caller(context), requests.complete_query(request)
        eyes = await self._sight.eyes(principal())
        async with self._turns:
            checkpoint, record, leaf = await self._leaf(query.index_size)
            shown = await disclosure.disclose(self._reader, [record], {INDEX_LOG: checkpoint.size})
            try:
                proofs = await self._proofs(query, leaf)
            except RunGoneError as error:
                raise OutOfRangeError(f"{error}: ask with the newest one", "index_size") from error
            answer = completeness_pb2.ProveCompleteResponse(
                index=checkpoint_message(checkpoint),
                leaf=shown[INDEX_LOG, record.index],
                proofs=proofs,
            )
            texts = tuple(dict.fromkeys(text for _, text in query.names))
            sizes = {INDEX_LOG: checkpoint.size}
            answer.browse_id = await self._shown.record(
                Browse(
                    user=user,
                    merchant=eyes.merchant,
                    method="ProveComplete",
                    keys=texts,
                    sizes=sizes,
                    purpose=request.purpose,
                    events=0,
                )
            )
            return answer

    async def GetRecords(  # noqa: N802 - the name in the proto
        self, request: completeness_pb2.GetRecordsRequest, context: Context
    ) -> completeness_pb2.GetRecordsResponse:
        """Show records by their places; see completeness.proto."""
        user, query = caller(context), requests.records_query(request)
        logs = await self._sight.logs(self._reader, principal(), self._secret, requests.MAX_POSITIONS)
        async with self._turns:
            checkpoints = await disclosure.vector(self._reader, _KIND, query.as_of)
            records, names = await self._records(logs, query, sizes_of(checkpoints))
            shown = await disclosure.disclose(self._reader, records, sizes_of(checkpoints))
            answer = completeness_pb2.GetRecordsResponse(
                records=[shown[each.log, each.index] for each in records],
                checkpoints=map(checkpoint_message, checkpoints.values()),
            )
            places = " ".join(f"{each.log}[{each.index}]" for each in records)
            answer.browse_id = await self._shown.record(
                Browse(
                    user=user,
                    merchant=logs.eyes.merchant,
                    method="GetRecords",
                    keys=names,
                    sizes=sizes_of(checkpoints),
                    purpose=request.purpose,
                    events=len(records),
                    query=places,
                )
            )
            return answer

    async def _leaf(self, size: int) -> tuple[StoredCheckpoint, SealedRecord, IndexLeaf]:
        """Find the leaf that a checkpoint of the log `index` ends with. Raises: OutOfRangeError, CorruptError."""
        checkpoint = await self._reader.checkpoint(INDEX_LOG, size or None)
        if checkpoint is None or not checkpoint.size:
            raise OutOfRangeError("there is no such checkpoint of the log `index` yet", "index_size")
        [record] = await self._reader.records(INDEX_LOG, [checkpoint.size - 1])
        content = content_of(record.parts, INDEX_PART) or b""
        try:
            return checkpoint, record, leaves.decode(content)
        except EntryError as error:
            raise CorruptError(f"{INDEX_LOG}: entry {record.index}: {error}") from error

    async def _proofs(self, query: CompleteQuery, leaf: IndexLeaf) -> list[completeness_pb2.NameProof]:
        tags = [entries.tag(self._secret, kind, text) for kind, text in query.names]
        left, proofs = self._page_bytes, list[completeness_pb2.NameProof]()
        run, page = query.start_run, query.start_page
        if (run and run >= len(leaf.runs)) or (page is not None and page >= leaf.runs[run].pages):
            raise InvalidRequestError("the leaf has no such run, or the run no such page", "start_run")
        for tag in tags:
            proof = completeness_pb2.NameProof()
            proofs.append(proof)
            left, is_whole = await self._prove(leaf, tag, proof, (run, page), left)
            if not is_whole and not proof.pieces:
                proofs.pop()  # there was no room to begin it
            if not is_whole:
                break
            run, page = 0, None
        newer = await self._newer.places(tags[: len(proofs)], leaf.sizes(), query.as_of)
        for tag, proof in zip(tags, proofs, strict=False):
            proof.newer.extend(completeness_pb2.Position(log=log, index=index) for log, index in newer[tag])
        return proofs

    async def _prove(
        self,
        leaf: IndexLeaf,
        tag: bytes,
        proof: completeness_pb2.NameProof,
        start: tuple[int, int | None],
        left: int,
    ) -> tuple[int, bool]:
        """Add pieces as long as there is room; give what is left of it, and whether the proof is whole."""
        first, page = start
        for run in leaf.runs[first:]:
            is_last = run.rows == 0
            while not is_last:
                if left < _LEAST_PAGES * PAGE_BYTES + _PIECE_BYTES and left < self._page_bytes:
                    return left, False
                most = min(MAX_PAGES, (left - _PIECE_BYTES) // PAGE_BYTES)
                piece, is_last = await prove(self._runs, run, tag, page=page, most_pages=max(1, most))
                page = piece.first_page + -(-len(piece.pages) // PAGE_BYTES)
                proof.pieces.append(
                    completeness_pb2.RunPages(
                        first_page=piece.first_page, pages=piece.pages, hashes=piece.hashes
                    )
                )
                left -= len(piece.pages) + _PIECE_BYTES
            page = None
        return left, True

    async def _records(
        self, logs: VisibleLogs, query: RecordsQuery, sizes: Mapping[str, int]
    ) -> tuple[list[SealedRecord], tuple[str, ...]]:
        """Read the first of the records asked for, as many as there is room for; give what the look is found by, too.

        That is the key asked for, which is whatever the caller says, and what the records shown are about.
        """
        beyond = [f"{log}[{index}]" for log, index in query.positions if index >= sizes.get(log, 0)]
        if beyond:
            raise OutOfRangeError(f"{beyond[0]} is beyond the sizes asked for", "positions")
        found: list[SealedRecord] = []
        names = {query.key: None}
        left, left_of_names = self._page_bytes, MOST_NAMES_BYTES
        for start in range(0, len(query.positions), 64):
            some = query.positions[start : start + 64]
            by_place = await _at(logs, some)
            named = await asyncio.to_thread(_named, by_place)  # a large event names thousands
            for place in some:
                left -= record_bytes(by_place[place], sizes[place[0]])
                left_of_names -= sum(len(each.encode()) for each in named[place])
                if min(left, left_of_names) < 0 and found:
                    return found, tuple(names)
                found.append(by_place[place])
                names.update(dict.fromkeys(named[place]))
        return found, tuple(names)

    def _let_through(self, context: Context) -> None:
        given = dict(context.invocation_metadata() or ()).get(TOKEN_METADATA, "")
        self._gate.check(grpc_peer(context.peer()), given if isinstance(given, str) else "")


def _named(records: Mapping[Position, SealedRecord]) -> dict[Position, tuple[str, ...]]:
    """Give what each record shows something of: the goods of an event and its hash, nothing of what is withheld. Raises: EntryError."""
    return {
        place: (*sorted(goods_in(facts)), facts.event_hash) if facts is not None else ()
        for place, (_, facts) in zip(records, judged(records.values()), strict=True)
    }


async def _at(logs: VisibleLogs, places: Sequence[Position]) -> dict[Position, SealedRecord]:
    """Read records, those that the caller may not see without their parts."""
    read = await asyncio.gather(*(logs.records(log, indexes) for log, indexes in grouped(places).items()))
    return {(record.log, record.index): record for of_log in read for record in of_log}
