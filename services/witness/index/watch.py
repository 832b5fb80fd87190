"""Whether a checkpoint of a log `index` may be cosigned: only once every leaf in it has been verified."""

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import structlog

from goodstrace.checkpoint import Checkpoint
from goodstrace.completeness.wrong_index import SUFFIX
from goodstrace.errors import VerificationError
from goodstrace.log_keys import INDEX_LOG
from goodstrace.note import Verifier, parse_note
from services.runtime.errors import ServiceError
from services.runtime.files import create_whole
from services.witness.index.errors import IndexWrongError, NotYetError
from services.witness.index.evidence import prove_wrong
from services.witness.index.follower import LeafVerifier, WrongRunError
from services.witness.index.source import IndexSource
from services.witness.index.state import Files, State
from services.witness.metrics import WitnessMetrics

WAIT_S: Final = 4.0
"""So long a request waits for the leaves in its checkpoint; the verifying goes on behind it."""
_SUFFIX: Final = f"/{INDEX_LOG}"


class IndexWatch:
    """Verifies the leaves of one platform's log `index` before it is cosigned."""

    def __init__(
        self,
        source: IndexSource,
        files: Files,
        keys: Callable[[str, int], Collection[Verifier]],
        evidence: Path,
        *,
        metrics: WitnessMetrics,
        log: structlog.stdlib.BoundLogger,
        wait_s: float = WAIT_S,
    ) -> None:
        """Read from `source`, remember in `files`; proofs of a wrong index go into the folder `evidence`."""
        self._source, self._files, self._keys, self._evidence = source, files, keys, evidence
        self._metrics, self._log, self._wait_s = metrics, log, wait_s
        self._state: State | None = None
        self._wrong = ""
        self._task: asyncio.Task[None] | None = None
        self._note = ""
        self._size = 0

    @staticmethod
    def concerns(origin: str) -> bool:
        """Tell whether a log is one that is looked at."""
        return origin.endswith(_SUFFIX)

    async def check(self, origin: str, note: str) -> str:
        """Say why a signed checkpoint must not be cosigned; the empty text where it may be.

        Raises: NotYetError where its leaves could not be verified by now.
        """
        checkpoint = Checkpoint.parse(parse_note(note).text)
        state = await self._loaded(origin)
        if state.origin != origin:
            return f"this witness verifies the index of {state.origin}"
        if not self._wrong and state.index.size < checkpoint.size:
            await self._reach(checkpoint.size, note)
        if self._wrong:
            return self._wrong
        root = (await self._loaded(origin)).roots.get(str(checkpoint.size))
        if root is None and checkpoint.size:
            return f"a checkpoint of {checkpoint.size} is older than what is remembered here"
        if root is not None and root != checkpoint.root.hex():
            return "its leaves are not those that were given to verify"
        return ""

    async def _loaded(self, origin: str) -> State:
        """Give the state, read at the first call. Raises: NotYetError."""
        if self._state is None:
            self._state = await asyncio.to_thread(self._files.load, origin)
        return self._state

    async def _reach(self, size: int, note: str) -> None:
        """Wait a while until so many leaves are verified. Raises: NotYetError."""
        if size > self._size:
            self._size, self._note = size, note
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._verify(), name="verify-index")
        done, _ = await asyncio.wait([self._task], timeout=self._wait_s)
        if done:
            self._task.result()
        assert self._state is not None
        if not self._wrong and self._state.index.size < size:
            raise NotYetError(f"{self._state.index.size} of {size} leaves are verified")

    async def _verify(self) -> None:
        assert self._state is not None
        verifier = LeafVerifier(self._source, self._files, self._keys, self._state.origin)
        while not self._wrong and self._state.index.size < self._size:
            async for number, tagged in self._source.entries(INDEX_LOG, self._state.index.size, self._size):
                try:
                    self._state = await verifier.verify(self._state, tagged)
                    self._metrics.leaves.inc()
                except IndexWrongError as error:
                    await self._found(error, number)
                    return

    async def _found(self, error: IndexWrongError, number: int) -> None:
        """Refuse from now on, and keep the proof where there is one."""
        self._wrong = str(error)
        self._metrics.wrong_leaves.inc()
        self._log.error("the index is wrong: it is not cosigned any more", leaf=number, error=str(error))
        if not isinstance(error, WrongRunError) or self._state is None:
            return
        try:
            proof = await prove_wrong(self._source, self._files, self._state, self._note, error)
            if proof is None:
                self._log.error(
                    "the service does not show rows that were sealed; so there is no proof for others"
                )
                return
            self._evidence.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._evidence / f"leaf-{number}{SUFFIX}"
            create_whole(path, proof)
        except (ServiceError, VerificationError, OSError) as problem:
            self._log.error(
                "no proof of the wrong index was made", error=f"{type(problem).__name__}: {problem}"
            )
            return
        self._log.error("proof of the wrong index", file=str(path))

    async def close(self) -> None:
        """Leave what is being verified: it is begun again from the last leaf."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
