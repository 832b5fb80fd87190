"""The witness: a request in, an answer out. What is cosigned is on disk before the cosignature exists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog

from goodstrace.checkpoint import Checkpoint
from goodstrace.cosignature import Cosigner
from goodstrace.errors import CheckpointError, NoteError, WitnessingError
from goodstrace.key_changes import KeyChange
from goodstrace.note import Note, open_note, parse_note
from goodstrace.witnessing import (
    SIZE_TYPE,
    AddCheckpoint,
    Conflict,
    Cosign,
    Cosigned,
    Decision,
    Suspicion,
    decide,
    encode_cosignatures,
)
from services.runtime.threads import OneThread
from services.witness.errors import BusyError
from services.witness.evidence import Evidence
from services.witness.index.watch import IndexWatch
from services.witness.metrics import WitnessMetrics
from services.witness.store import Latest, Store, origin_hash
from services.witness.trust import Trust

TEXT_TYPE: Final = "text/plain; charset=utf-8"
_TRIES: Final = 10
_MAX_LOGGED: Final = 200  # characters of an origin that anybody may have sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: str
    content_type: str = TEXT_TYPE


class Witness:
    """Cosigns the checkpoints of the logs it trusts. All that touches the store is done by one thread of its own."""

    def __init__(
        self,
        cosigner: Cosigner,
        store: Store,
        trust: Trust,
        evidence: Evidence,
        *,
        now_s: Callable[[], int],
        metrics: WitnessMetrics,
        log: structlog.stdlib.BoundLogger,
        index: IndexWatch | None = None,
    ) -> None:
        """Put the parts together; `now_s` gives Unix seconds. With `index` its log is cosigned only as far as that has verified it."""
        self._index = index
        self._cosigner, self._store, self._trust, self._evidence = cosigner, store, trust, evidence
        self._now_s, self._metrics, self._log = now_s, metrics, log
        self._thread = OneThread("store")

    async def add_checkpoint(self, body: bytes) -> Answer:
        """Answer an add-checkpoint request. Raises: StoreError, BusyError, NotYetError: then nothing was signed."""
        try:
            request = AddCheckpoint.parse(body)
        except WitnessingError as error:
            return Answer(HTTPStatus.BAD_REQUEST, f"{error}\n")
        if self._index is not None and self._index.concerns(request.origin) and self._is_signed(request):
            problem = await self._index.check(request.origin, request.note)
            if problem:
                self._log.info("refused", origin=request.origin[:_MAX_LOGGED], reason=problem)
                return Answer(HTTPStatus.UNPROCESSABLE_ENTITY, f"{problem}\n")
        return await self._thread.run(self._answer, request)

    def _is_signed(self, request: AddCheckpoint) -> bool:
        """Tell whether a trusted key has signed a checkpoint; where not, it is refused for that."""
        try:
            note = open_note(request.note, self._trust.keys(request.origin, request.size))
            Checkpoint.parse(note.text)
        except (NoteError, CheckpointError):
            return False
        return True

    async def checkpoint(self, hash_: str) -> str | None:
        """Give the newest checkpoint cosigned of a log, with the log's signatures and ours; None where there is none.

        Args:
            hash_: SHA-256 of the log's origin, lowercase hex.
        Raises: StoreError.
        """
        latest = await self._thread.run(self._store.latest, hash_)
        return self._with_ours(latest) if latest else None

    async def remember(self, origin: str, vkey: str) -> str:
        """Trust a key on first use; give the one that is trusted. Raises: StoreError."""
        return await self._thread.run(self._store.trust, origin, vkey)

    async def follow(self, origin: str, changes: Sequence[KeyChange]) -> tuple[KeyChange, ...]:
        """Remember changes of a log's key with those known; give all. Raises: StoreError; KeyChangeError, see Store."""
        return await self._thread.run(self._store.follow, origin, changes)

    async def probe(self) -> None:
        """Raise StoreError unless the store can be read."""
        await self._thread.run(self._store.sizes)

    def close(self) -> None:
        """Let what has begun in the store end, then close it."""
        self._thread.close()
        self._store.close()

    def _answer(self, request: AddCheckpoint) -> Answer:
        keys = self._trust.keys(request.origin, request.size)
        for _ in range(_TRIES):
            cosigned = self._store.cosigned(request.origin) if keys else Cosigned()
            decision = decide(cosigned, request, keys)
            if not isinstance(decision, Cosign):
                return self._refused(request, decision)
            after = Cosigned(decision.checkpoint.size, decision.checkpoint.root)
            note = decision.note.encode()
            time_s = self._store.advance(request.origin, cosigned, after, note, self._now_s())
            if time_s is not None:
                self._metrics.last.set(time_s)
                return Answer(HTTPStatus.OK, self._cosignature(decision.note, time_s))
        raise BusyError(f"{request.origin}: others were first {_TRIES} times")

    def _refused(self, request: AddCheckpoint, decision: Decision) -> Answer:
        assert not isinstance(decision, Cosign)
        if decision.suspicion is not None:
            self._suspect(request, decision.suspicion)
        if isinstance(decision, Conflict):
            return Answer(HTTPStatus.CONFLICT, decision.body(), SIZE_TYPE)
        self._log.info(
            "refused", origin=request.origin[:_MAX_LOGGED], status=decision.status, reason=decision.reason
        )
        return Answer(decision.status, f"{decision.reason}\n")

    def _suspect(self, request: AddCheckpoint, suspicion: Suspicion) -> None:
        self._metrics.suspicions.labels(suspicion.value).inc()
        latest = self._store.latest(origin_hash(request.origin))
        assert latest is not None, "nothing can contradict what was never cosigned"
        # The log's own signatures only: anybody can add others.
        offered = open_note(request.note, self._trust.keys(request.origin, request.size)).encode()
        try:
            kept = self._evidence.keep(request.origin, suspicion, self._with_ours(latest), offered)
        except OSError as error:  # the answer is the same without it
            self._log.error("evidence not kept", origin=request.origin, error=str(error), note=offered)
            return
        if kept is None:
            self._log.error("no room for more evidence", origin=request.origin, kind=suspicion, note=offered)
            return
        self._log.error(
            "a log contradicts what was cosigned of it",
            origin=request.origin,
            kind=suspicion,
            evidence=str(kept),
        )

    def _with_ours(self, latest: Latest) -> str:
        note = parse_note(latest.note)
        ours = self._cosigner.cosign(
            note.text, latest.time_s
        )  # the same bytes as before: Ed25519 draws nothing
        return Note(note.text, (*note.signatures, ours)).encode()

    def _cosignature(self, note: Note, time_s: int) -> str:
        return encode_cosignatures([self._cosigner.cosign(note.text, time_s)])
