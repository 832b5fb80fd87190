"""One record of `goods.rejected`, read where it lies. The topic keeps everything (services.runtime.topics)."""

import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from services.runtime import envelope
from services.runtime.envelope import Record
from services.runtime.errors import UnavailableError
from services.runtime.kafka import OffsetGapError, consumer, translate, translated
from services.runtime.threads import OneThread

_TIMEOUT_S: Final = 5.0
_AHEAD_KBYTES: Final = 1024


class RejectedReader:
    """Reads records by partition and offset, one at a time."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        """Connect at the first call."""
        self._bootstrap = bootstrap
        self._topic = topic
        self._consumer: Consumer | None = None
        self._thread = OneThread("rejected")

    async def read(self, partition: int, offset: int) -> Record:
        """Read the record at an offset.

        Raises: OffsetGapError where Kafka no longer has it; UnavailableError; EnvelopeError where it is none of ours.
        """
        return envelope.decode(await self._thread.run(self._read, partition, offset))

    def _read(self, partition: int, offset: int) -> bytes:
        if self._consumer is None:
            self._consumer = consumer(
                self._bootstrap, "rejected", partition_eof=True, ahead_kbytes=_AHEAD_KBYTES
            )
        with translated():
            self._consumer.assign([TopicPartition(self._topic, partition, offset)])
            try:
                return self._first(self._consumer, offset)
            finally:
                self._consumer.unassign()

    def _first(self, reader: Consumer, offset: int) -> bytes:
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            message = reader.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise translate(error)
            if error is not None or message.offset() != offset:
                raise OffsetGapError(f"{self._topic} has no record at {offset} any more")
            return message.value() or b""
        raise UnavailableError(f"Kafka: no record of {self._topic} within {_TIMEOUT_S} s")
