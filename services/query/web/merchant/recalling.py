"""A recall for a page or a sheet: asked as whoever looks, verified as a client would, and kept on disk while it comes."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar, cast

import msgspec

from goodstrace.identifiers import canonical_key
from goodstrace.log.v1 import log_pb2
from goodstrace.log_keys import LogKeys
from goodstrace.query.v1 import recall_pb2
from goodstrace.recall_sheet import write_csv, write_xlsx
from goodstrace.recall_spool import RecallSpool
from goodstrace.recalls import RecallPiece, RecallVerifier
from goodstrace.verification import VerifiedCheckpoint
from services.query.requests import MAX_AS_OF
from services.runtime.access.current import still
from services.runtime.call_errors import InvalidRequestError
from services.runtime.grpc import Context

ROWS_SHOWN: Final = 200
_AHEAD: Final = 2
T = TypeVar("T")
Row = tuple[Any, ...]
Sizes = Mapping[str, int]


class Recalling(Protocol):
    """TraceService's `Recall`; `services.query.service.TraceServicer` is the real one."""

    async def Recall(self, request: recall_pb2.RecallRequest, context: Context) -> None:  # noqa: N802 - the name in the proto
        """Recall goods; the look is recorded before the first message."""
        ...


class Progress(msgspec.Struct, frozen=True):
    """How far a recall has come."""

    level: int
    goods: int
    containers: int
    events: int
    orders: int
    holders: int


class Listed(msgspec.Struct, frozen=True):
    """The first rows of each of a recall's sheets, the columns as `goodstrace.recall_spool` names them."""

    goods: list[Row]
    containers: list[Row]
    orders: list[Row]
    holders: list[Row]


class RecallRun:
    """One recall: `async with RecallRun(...) as run`, then `async for progress in run.progress()`, then what it has."""

    def __init__(
        self,
        service: Recalling,
        key: str,
        *,
        purpose: str,
        vkeys: Sequence[str],
        as_of: Sizes,
        timeout_s: float,
    ) -> None:
        """Recall `key` by `service`, as of some sizes of logs where they are given, within `timeout_s`; `vkeys` are the logs' keys."""
        self._service, self.key, self._purpose, self._as_of = service, canonical_key(key), purpose, as_of
        self._until_s = time.monotonic() + timeout_s
        self._keys = LogKeys.parse(list(vkeys))
        self._messages: asyncio.Queue[recall_pb2.RecallResponse] = asyncio.Queue(_AHEAD)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recall")
        self._given: deque[recall_pb2.RecallResponse] = deque()
        verifier = RecallVerifier(self.key, opened=self._opened, merchant_keys=None)
        self._pieces = verifier.pieces(self._taken())
        self._spool: RecallSpool | None = None
        self._task: asyncio.Task[None] | None = None
        self.summary: recall_pb2.RecallSummary | None = None
        self.sizes: Sizes = {}
        self.browse_id = ""

    async def __aenter__(self) -> Self:
        self._spool = await self._apart(RecallSpool)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._spool is not None:
            self._thread.submit(self._spool.close)
        self._thread.shutdown(wait=False)

    async def progress(self) -> AsyncIterator[Progress]:
        """Go on to the end, telling how far it has come, first of all when the look is recorded.

        Raises: what the call does; what verifying does; TimeoutError; UnauthenticatedError and ForbiddenError once who looks does not count any more.
        """
        request = recall_pb2.RecallRequest(
            key=self.key,
            purpose=self._purpose,
            as_of=[log_pb2.LogSize(log=log, size=size) for log, size in self._as_of.items()],
        )
        context = cast("Context", _Call(self._messages))
        self._task = asyncio.create_task(self._service.Recall(request, context))
        counts: Counter[str] = Counter()
        while self.summary is None:
            message = await self._next()
            self._given.append(message)
            piece = await self._apart(self._kept)
            self.sizes = {log: each.checkpoint.size for log, each in piece.checkpoints.items()}
            self.browse_id, self.summary = piece.browse_id, piece.summary
            for name in ("goods", "containers", "events", "orders", "holders"):
                counts[name] += len(getattr(piece, name))
            yield Progress(
                level=piece.level, **{name: counts[name] for name in Progress.__struct_fields__[1:]}
            )

    async def listed(self, most: int = ROWS_SHOWN) -> Listed:
        """Give the first rows of each sheet."""
        return await self._apart(self._listed, most)

    async def write(self, path: Path, kind: str) -> None:
        """Write the whole as a sheet: "csv" or "xlsx"."""
        await self._apart(write_csv if kind == "csv" else write_xlsx, path, self._spool)

    async def _next(self) -> recall_pb2.RecallResponse:
        assert self._task is not None
        coming = asyncio.ensure_future(self._messages.get())
        try:
            left_s = max(0.0, self._until_s - time.monotonic())
            await asyncio.wait([coming, self._task], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                return coming.result()
            if not self._task.done():
                raise TimeoutError("a recall took too long")
            self._task.result()  # it failed
            return self._messages.get_nowait()
        finally:
            coming.cancel()

    async def _apart(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something in the one thread that the spool belongs to."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _taken(self) -> Iterator[recall_pb2.RecallResponse]:
        while self._given:
            yield self._given.popleft()

    def _kept(self) -> RecallPiece:
        assert self._spool is not None
        piece = next(self._pieces)
        self._spool.add(piece)
        return piece

    def _listed(self, most: int) -> Listed:
        assert self._spool is not None
        sheets = (self._spool.goods, self._spool.containers, self._spool.orders, self._spool.holders)
        return Listed(*([row for row, _ in zip(sheet(), range(most), strict=False)] for sheet in sheets))

    def _opened(self, messages: Sequence[log_pb2.Checkpoint]) -> Mapping[str, VerifiedCheckpoint]:
        return {
            each.log: VerifiedCheckpoint(each.log, self._keys.open(each.log, each.note), each.note)
            for each in messages
        }


class _Call:
    """What TraceService needs of its context: where its messages go. Who does not count any more gets none."""

    def __init__(self, messages: "asyncio.Queue[recall_pb2.RecallResponse]") -> None:
        self._messages = messages

    def invocation_metadata(self) -> tuple[tuple[str, Any], ...]:
        """Give none."""
        return ()

    async def write(self, message: recall_pb2.RecallResponse) -> None:
        """Take a message, once there is room."""
        await still()
        await self._messages.put(message)


def sizes_text(sizes: Sizes) -> str:
    """Write sizes of logs for an address: `goods/0:12,goods/1:7`."""
    return ",".join(f"{log}:{size}" for log, size in sorted(sizes.items()))


def sizes_of(text: str) -> Sizes:
    """Read them. Raises: InvalidRequestError."""
    found: dict[str, int] = {}
    for each in text.split(",", MAX_AS_OF) if text else ():
        log, _, size = each.partition(":")
        if not (size.isascii() and size.isdigit() and len(size) <= 18) or len(log) > 64 or log in found:
            raise InvalidRequestError("sizes of logs, such as goods/0:12", "as_of")
        found[log] = int(size)
    return found
