"""The stage runner: a contiguous span of stages over Kafka, exactly once.

A cycle: (1) read a batch, read_committed; (2) take it through the stages; (3) in one Kafka transaction write every stage's
topic, partition to partition, and `goods.rejected`, and move on the offsets of the groups of *all* stages of the span, so that any other span may take over where this one was.
Whatever fails: abort, go back to the committed offsets, fill the windows again from `goods.summarised`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import structlog
from confluent_kafka import Message

from goodstrace.errors import EntryError
from services.collector.flow import StageName
from services.collector.kafka import Group, Source, require_nothing_written
from services.collector.metrics import Metrics
from services.collector.retry import persistently
from services.collector.settings import CollectorSettings
from services.collector.stages import INPUTS, OUTPUTS, Span, SpanOutput, State
from services.collector.summarise import Window, remembered
from services.collector.transactions import Move, Transactions, Write
from services.runtime import topics
from services.runtime.errors import EnvelopeError, ServiceError
from services.runtime.read_back import read_back
from services.runtime.settings import KafkaSettings

T = TypeVar("T")
_WAIT_S: Final = 0.2


def group_of(kafka: KafkaSettings, stage: StageName) -> str:
    """Name the consumer group whose offsets say how far a stage has come."""
    return kafka.topic(f"collector.{stage}")


class Runner:
    """Runs a span until it is asked to stop. Several runners share the partitions, each under its own `instance`."""

    def __init__(
        self,
        span: Span,
        *,
        kafka: KafkaSettings,
        settings: CollectorSettings,
        secret: bytes,
        check: Callable[[], Awaitable[None]],
        metrics: Metrics,
        log: structlog.stdlib.BoundLogger,
        rerun: bool = False,
    ) -> None:
        """Prepare to run; nothing is connected before `run`.

        `check` must return before anything is read. `rerun`: see State.
        """
        self._check = check
        self._rerun = rerun
        self._span = span
        self._kafka = kafka
        self._settings = settings
        self._secret = secret
        self._metrics = metrics
        self._log = log
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stages")
        self._states: dict[int, State] = {}
        self._transactions = Transactions(
            kafka.bootstrap_servers, kafka.topic(f"collector.stages.{settings.instance}.{span.first}")
        )
        self._source: Source | None = None
        self._groups: dict[StageName, Group] = {}
        self._rewind = False
        self._begun_s = 0.0
        self.is_busy = False  # whether the last look for records found some

    async def run(self, stop: asyncio.Event, started: Callable[[], None] = lambda: None) -> None:
        """Run cycle after cycle; a cycle that has begun is finished before it returns.

        `started` is called once it reads. Raises: ServiceError that a retry does not mend: fenced, offsets lost, a record
        that is none of ours.
        """
        try:
            await self._persistently(self._check, stop)
            await self._persistently(lambda: self._in_thread(self._start), stop)
            started()
            while not stop.is_set():
                await self._persistently(self._cycle, stop)
        finally:
            await self._in_thread(self._close)

    async def _cycle(self) -> None:
        batch = await self._in_thread(self._read)
        self.is_busy = bool(batch)
        if not batch:
            return
        started = time.perf_counter()
        self._rewind = True  # until this batch is committed
        busy = self._metrics.stage_busy.labels(self._span.first)
        busy.set(len(batch))
        try:
            outputs = await self._in_thread(self._work, batch)
            await self._in_thread(self._commit, batch, outputs)
        finally:
            busy.set(0)
        self._rewind = False
        self._count(batch, outputs)
        self._metrics.span_seconds.observe(time.perf_counter() - started)

    def _start(self) -> None:
        # First take the transactional ID over: what a killed predecessor left open is aborted, and its offsets are stable.
        self._transactions.start()
        if self._source is None:
            self._groups = {
                stage: Group(self._kafka.bootstrap_servers, group_of(self._kafka, stage))
                for stage in self._span.stages[1:]
            }
            self._source = Source(
                self._kafka.bootstrap_servers,
                group_of(self._kafka, self._span.first),
                [self._kafka.topic(INPUTS[self._span.first])],
                on_partition=self._take_partition,
                on_first=self._check_first,
            )

    def _read(self) -> list[Message]:
        assert self._source is not None
        self._transactions.start()
        if self._rewind:
            self._source.rewind()
            self._rewind = False
        settings = self._settings
        until_s = self._begun_s + settings.span_interval_ms / 1000
        batch = self._source.poll(settings.batch_records, settings.batch_bytes, _WAIT_S, until_s)
        self._begun_s = time.monotonic()
        return batch

    def _take_partition(self, _topic: str, partition: int, offset: int) -> None:
        window = Window(self._settings.window)
        if self._span.first is StageName.SUMMARISE:
            topic = self._kafka.topic(topics.GOODS_SUMMARISED)
            bootstrap, size = self._kafka.bootstrap_servers, self._settings.window
            for record in read_back(bootstrap, topic, partition, size, remembered):
                for each in record:
                    window.add(*each)
        self._states[partition] = State(window, self._secret, self._rerun, self._settings.books)
        self._log.info("took a partition", partition=partition, offset=offset, window=len(window))

    def _check_first(self, _topic: str, partition: int) -> None:
        topic = self._kafka.topic(OUTPUTS[self._span.first])
        group = group_of(self._kafka, self._span.first)
        require_nothing_written(self._kafka.bootstrap_servers, topic, partition, group)

    def _work(self, batch: Sequence[Message]) -> dict[int, SpanOutput]:
        values: dict[int, list[bytes]] = {}
        for message in batch:
            values.setdefault(int(message.partition() or 0), []).append(message.value() or b"")
        try:
            return {
                partition: self._span.run(self._states[partition], each) for partition, each in values.items()
            }
        except EntryError as error:
            raise EnvelopeError(str(error)) from error

    def _commit(self, batch: Sequence[Message], outputs: Mapping[int, SpanOutput]) -> None:
        writes = []
        for partition, output in outputs.items():
            for stage, values in output.passed.items():
                writes.append(Write(self._kafka.topic(OUTPUTS[stage]), partition, values))
            refused = [value for _, _, value in output.rejected]
            writes.append(Write(self._kafka.topic(topics.GOODS_REJECTED), partition, refused))
        following = {int(message.partition() or 0): int(message.offset() or 0) + 1 for message in batch}
        self._transactions.write(
            [write for write in writes if write.values], lambda last: self._moves(following, last)
        )

    def _moves(self, following: Mapping[int, int], last: Mapping[tuple[str, int], int]) -> list[Move]:
        """Move every stage of the span on: the first by what was read, the others by what was just written for them."""
        assert self._source is not None
        metadata = self._source.metadata()
        read = self._kafka.topic(INPUTS[self._span.first])
        moves = [Move(metadata, read, partition, offset) for partition, offset in following.items()]
        for stage, group in self._groups.items():
            topic = self._kafka.topic(INPUTS[stage])
            metadata = group.metadata()
            moves += [
                Move(metadata, topic, partition, offset + 1)
                for (name, partition), offset in last.items()
                if name == topic
            ]
        return moves

    def _count(self, batch: Sequence[Message], outputs: Mapping[int, SpanOutput]) -> None:
        metrics = self._metrics
        taken = len(batch)
        for stage in self._span.stages:
            passed = sum(len(output.passed[stage]) for output in outputs.values())
            metrics.stage_in.labels(stage).inc(taken)
            metrics.stage_out.labels(stage).inc(passed)
            metrics.stage_last.labels(stage).set_to_current_time()
            taken = passed
        for output in outputs.values():
            for stage, reason, _ in output.rejected:
                metrics.rejected.labels(stage, reason).inc()
            self._count_rules(output)
        metrics.span_records.observe(len(batch))

    def _count_rules(self, output: SpanOutput) -> None:
        for rule in output.unanswered:
            self._metrics.unanswered.labels(rule).inc()
        if StageName.CLASSIFY in self._span.stages:
            for item in output.items:
                for verdict in item.facts.verdicts:
                    self._metrics.verdicts.labels(verdict.rule).inc()

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
        for group in self._groups.values():
            group.close()
        self._transactions.close()

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _persistently(self, attempt: Callable[[], Any], stop: asyncio.Event) -> Any:
        try:
            return await persistently(attempt, "stages", stop, self._metrics, self._log)
        except ServiceError as error:
            self._log.error("the stages stop", category=error.category, error=str(error))
            raise
