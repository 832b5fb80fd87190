"""The stage runner: a contiguous span of stages over Kafka, exactly once.

A cycle: (1) read a batch, read_committed; (2) take it through the stages; (3) in one Kafka transaction write every stage's
topic, partition to partition, and `goods.rejected`, and move on the offsets of the groups of *all* stages of the span, so that any other span may take over where this one was.
Whatever fails: abort, go back to the committed offsets, fill the windows again from `goods.summarised`.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import Message

from goodstrace.errors import EntryError
from services.collector.flow import StageName
from services.collector.kafka import outside_of, require_nothing_written
from services.collector.metrics import Metrics
from services.collector.settings import CollectorSettings
from services.collector.stage_spans import StageSpans
from services.collector.stages import INPUTS, OUTPUTS, Span, SpanOutput, State, Watcher
from services.collector.summarise import Window, remembered
from services.collector.transacting import WAIT_S, Transacting, place_of
from services.collector.transactions import Move, Transactions, Write
from services.runtime import topics
from services.runtime.errors import EnvelopeError, ServiceError
from services.runtime.group_source import Source
from services.runtime.kafka_statistics import KAFKA
from services.runtime.read_back import read_back
from services.runtime.settings import KafkaSettings
from services.runtime.tracing import spans

_MOST_TOLD: Final = 10


def group_of(kafka: KafkaSettings, stage: StageName) -> str:
    """Name the consumer group whose offsets say how far a stage has come."""
    return kafka.topic(f"collector.{stage}")


class Runner(Transacting):
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
        transactions = Transactions(
            kafka.bootstrap_servers, kafka.topic(f"collector.stages.{settings.instance}.{span.first}")
        )
        super().__init__("stages", transactions, metrics, log)
        self._check = check
        self._rerun = rerun
        self._span = span
        self._kafka = kafka
        self._settings = settings
        self._secret = secret
        self._states: dict[int, State] = {}
        self._groups: dict[StageName, Any] = {}
        for stage in span.stages:  # before those within the span nothing waits
            KAFKA.begin(stage)
        self._begun_s = 0.0
        self.is_busy = False  # whether the last look for records found some

    async def _prepare(self) -> None:
        await self._thread.run(self._span.check, self._secret, self._settings.books)
        await self._check()

    async def _take(self, batch: list[Message]) -> None:
        started = time.perf_counter()
        watcher = StageSpans() if spans.is_on() else None
        busy = self._metrics.stage_busy.labels(self._span.first)
        busy.set(len(batch))
        try:
            await self._thread.run(self._through, batch, watcher)
        except ServiceError as error:
            if watcher is not None:
                watcher.failed(len(batch), error.category)
            raise
        finally:
            busy.set(0)
        context = watcher.committed(len(batch)) if watcher is not None else None
        exemplar = spans.exemplar(context) if context is not None else None
        self._metrics.span_seconds.observe(time.perf_counter() - started, exemplar)

    def _open(self) -> Source:
        self._groups = {
            stage: outside_of(self._kafka.bootstrap_servers, group_of(self._kafka, stage))
            for stage in self._span.stages[1:]
        }
        return Source(
            self._kafka.bootstrap_servers,
            group_of(self._kafka, self._span.first),
            [self._kafka.topic(INPUTS[self._span.first])],
            on_partition=self._take_partition,
            on_first=self._check_first,
            client=self._span.first,
        )

    def _poll(self, source: Source) -> list[Message]:
        settings = self._settings
        until_s = self._begun_s + settings.span_interval_ms / 1000
        batch = source.poll(settings.batch_records, settings.batch_bytes, WAIT_S, until_s)
        self.is_busy = bool(batch)
        if batch:  # what comes after a pause does not wait
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

    def _through(self, batch: Sequence[Message], watcher: Watcher | None) -> None:
        """Take a batch through the stages and commit it; megabytes of values end here, and not in the thread that answers HTTP."""
        values: dict[int, list[bytes]] = {}
        following: dict[int, int] = {}
        for message in batch:
            partition, offset = place_of(message)
            values.setdefault(partition, []).append(message.value() or b"")
            following[partition] = offset + 1
        outputs = self._work(values, watcher)
        self._commit(following, outputs)
        self._committed()
        self._count(len(batch), outputs)

    def _work(self, values: Mapping[int, Sequence[bytes]], watcher: Watcher | None) -> dict[int, SpanOutput]:
        try:
            return {
                partition: self._span.run(self._states[partition], each, watcher)
                for partition, each in values.items()
            }
        except EntryError as error:
            raise EnvelopeError(str(error)) from error

    def _commit(self, following: Mapping[int, int], outputs: Mapping[int, SpanOutput]) -> None:
        writes = []
        for partition, output in outputs.items():
            for stage, values in output.passed.items():
                writes.append(Write(self._kafka.topic(OUTPUTS[stage]), partition, values))
            refused = [value for _, _, value in output.rejected]
            writes.append(Write(self._kafka.topic(topics.GOODS_REJECTED), partition, refused))
        self._transactions.write(
            [write for write in writes if write.values], lambda last: self._moves(following, last)
        )

    def _moves(self, following: Mapping[int, int], last: Mapping[tuple[str, int], int]) -> list[Move]:
        """Move every stage of the span on: the first by what was read, the others by what was just written for them."""
        metadata = self._reading.metadata()
        read = self._kafka.topic(INPUTS[self._span.first])
        moves = [Move(metadata, read, partition, offset) for partition, offset in following.items()]
        for stage, metadata in self._groups.items():
            topic = self._kafka.topic(INPUTS[stage])
            moves += [
                Move(metadata, topic, partition, offset + 1)
                for (name, partition), offset in last.items()
                if name == topic
            ]
        return moves

    def _count(self, records: int, outputs: Mapping[int, SpanOutput]) -> None:
        metrics = self._metrics
        taken = records
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
            for fault in output.faults[:_MOST_TOLD]:
                told = {"stage": fault.stage, "record": fault.record, "failures": len(output.faults)}
                self._log.error("a stage failed over a record: refused", **told, exception=fault.told)
        metrics.span_records.observe(records)

    def _count_rules(self, output: SpanOutput) -> None:
        for rule in output.unanswered:
            self._metrics.unanswered.labels(rule).inc()
        for rule in output.verdicts:
            self._metrics.verdicts.labels(rule).inc()
