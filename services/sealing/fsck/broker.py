"""Does Kafka still hold what the log will go on from, and is it the Kafka that the log was sealed from?"""

import asyncio
from collections.abc import Iterator, Mapping

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from goodstrace import block as blocks
from goodstrace.block import BlockHeader
from goodstrace.errors import VerificationError
from services.runtime import kafka
from services.runtime.errors import UnavailableError
from services.sealing.fsck.faults import Verdict
from services.sealing.fsck.scan import LogDocuments

TIMEOUT_S = 10.0


async def check_broker(store: LogDocuments, verdicts: Mapping[str, Verdict], bootstrap: str) -> None:
    """Compare each log's last block with its topic: cluster, topic ID, and offsets.

    Faults go into the verdicts. Raises: UnavailableError where Kafka does not answer.
    """
    for name, verdict in verdicts.items():
        header = await _last_header(store, name, verdict.blocks)
        if header is not None:
            for problem in await asyncio.to_thread(_problems, bootstrap, header):
                verdict.found("broker", problem, block=header.height)


async def _last_header(store: LogDocuments, log: str, count: int) -> BlockHeader | None:
    document = await store.block(log, count - 1) if count else None
    try:
        return blocks.decode(document["header"]) if document else None
    except (VerificationError, KeyError, TypeError):
        return None


def _problems(bootstrap: str, header: BlockHeader) -> list[str]:
    return list(_differing(bootstrap, header))


def _differing(bootstrap: str, header: BlockHeader) -> Iterator[str]:
    sealed = header.kafka
    try:
        cluster, topic_id = kafka.cluster_and_topic_id(bootstrap, sealed.topic, TIMEOUT_S)
    except UnavailableError as error:
        if not _is_unknown_topic(error.__cause__):
            raise
        yield f"this Kafka has no topic {sealed.topic}"
        return
    if cluster != sealed.cluster:
        yield f"sealed from the Kafka cluster {sealed.cluster}, this is {cluster}"
        return
    if topic_id != sealed.topic_id:
        yield f"topic {sealed.topic} was made anew: sealed from {sealed.topic_id}, it is {topic_id}"
        return
    low, high = _watermarks(bootstrap, sealed.topic, sealed.partition)
    place = f"{sealed.topic}[{sealed.partition}]"
    if low > sealed.next:
        yield f"{place}: the next record to seal is at offset {sealed.next}, Kafka holds those from {low} on"
    if high < sealed.next:
        yield f"{place}: sealed up to offset {sealed.next}, Kafka ends at {high}"


def _is_unknown_topic(cause: BaseException | None) -> bool:
    if not isinstance(cause, KafkaException):
        return False
    fault: KafkaError = cause.args[0]
    return bool(fault.code() == KafkaError.UNKNOWN_TOPIC_OR_PART)


def _watermarks(bootstrap: str, topic: str, partition: int) -> tuple[int, int]:
    consumer = kafka.consumer(bootstrap, "goodstrace-fsck")
    try:
        low, high = consumer.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=TIMEOUT_S, cached=False
        )
    except KafkaException as error:
        raise kafka.translate(error) from error
    finally:
        consumer.close()
    if low is None or high is None:
        raise UnavailableError(f"Kafka: no offsets of {topic}[{partition}] within {TIMEOUT_S:g} s")
    return int(low), int(high)
