"""The Faust application of a worker: its settings, topics and table. The only place that configures Faust.

`at_least_once`: what is not committed comes again after a kill, and the table's values say what they have counted already. Topics are made by
`services.runtime.provision`, never by a worker. RocksDB's memory is bounded for each partition. No standby replicas: a partition that moves is
made again from the changelog, a value for each subject.
"""

import asyncio
import shutil
import ssl
import time
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Final

import faust
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.exceptions import ConsumerNotStarted
from faust.types import TP
from rocksdict import BottommostLevelCompaction, CompactOptions

from services.audit.watch.consumer import OrderedConsumer
from services.audit.watch.progress import Progress
from services.audit.watch.settings import WatchSettings
from services.runtime.consumer_groups import WATCH
from services.runtime.errors import SettingsError
from services.runtime.settings import KafkaSettings, read_secret
from services.runtime.topics import (
    BROWSE_ALERTS,
    BROWSE_COUNTED,
    BROWSE_OBSERVED,
    BROWSE_WATCHED,
    MAX_MESSAGE_BYTES,
)

_HEARTBEATS: Final = 5
_LINGER_S: Final = 0.005
_MIB: Final = 2**20


def _credentials(kafka: KafkaSettings) -> Credentials | None:
    """Give what Faust shows to the brokers, by the settings that all clients go by; None for clear text. Raises: SettingsError."""
    if kafka.security_protocol == "PLAINTEXT":
        return None
    context = _tls(kafka) if kafka.security_protocol.endswith("SSL") else None
    if not kafka.security_protocol.startswith("SASL_"):
        return SSLCredentials(context)
    password = read_secret(kafka.sasl_password_file) if kafka.sasl_password_file else ""
    return SASLCredentials(
        username=kafka.sasl_username,
        password=password,
        ssl_context=context,
        mechanism=kafka.sasl_mechanism,
    )


def _tls(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_ca_file)
        if kafka.ssl_cert_file:
            context.load_cert_chain(kafka.ssl_cert_file, kafka.ssl_key_file)
    except OSError as error:
        raise SettingsError(f"KAFKA_SSL_...: cannot use the files: {error}") from error
    return context


class WatchApp:
    """The application with its topics and its table; all keys and values are bytes."""

    def __init__(self, kafka: KafkaSettings, settings: WatchSettings) -> None:
        """Configure it; nothing is connected yet."""
        self.app = faust.App(
            kafka.topic(WATCH),
            broker="kafka://" + kafka.bootstrap_servers.replace(",", ";"),
            broker_credentials=_credentials(kafka),
            store="rocksdb://",
            datadir=str(settings.data_dir.resolve()),
            processing_guarantee="at_least_once",
            broker_session_timeout=settings.session_s,
            broker_heartbeat_interval=settings.session_s / _HEARTBEATS,
            broker_commit_interval=settings.commit_s,
            consumer_group_instance_id=kafka.instance or None,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=MAX_MESSAGE_BYTES,
            broker_max_poll_records=settings.batch_records,  # else a full topic of looks keeps the observations waiting
            producer_acks=-1,
            producer_linger=_LINGER_S,
            producer_max_request_size=MAX_MESSAGE_BYTES,
            stream_buffer_maxsize=settings.batch_records,
            table_standby_replicas=0,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            key_serializer="raw",
            value_serializer="raw",
        )
        transport: Any = self.app.transport
        transport.Consumer = OrderedConsumer
        self._partitions = kafka.browse_partitions
        self.progress = Progress(kafka.bootstrap_servers, kafka.topic(WATCH))
        self.watched = self._topic(kafka.topic(BROWSE_WATCHED))
        self.observed = self._topic(kafka.topic(BROWSE_OBSERVED))
        self.alerts = self._topic(kafka.topic(BROWSE_ALERTS))
        self._changelog = self._topic(kafka.topic(BROWSE_COUNTED))
        self.table = self.app.Table(
            kafka.topic(BROWSE_COUNTED),
            key_type=bytes,
            value_type=bytes,
            partitions=kafka.browse_partitions,
            changelog_topic=self._changelog,
            options={
                "driver": "rocksdict",
                "block_cache_size": settings.store_mib * _MIB,
                "write_buffer_size": settings.store_mib * _MIB,
                "max_write_buffer_number": 2,
            },
        )

    async def send(
        self, topic: Any, key: bytes | None, value: bytes | None, partition: int
    ) -> Awaitable[Any]:
        """Hand a record to the producer, without what Faust's topics add around each; what is given is to be awaited for its place."""
        sent: Awaitable[Any] = await self.app.producer.send(
            topic.get_topic_name(), key, value, partition, timestamp=None, headers=None
        )
        return sent

    def store(self, partition: int) -> Any:
        """Give the table's RocksDB of a partition that this worker has: `get`, `put`, `delete`, `iter`."""
        # Faust lets a table be read by no other way outside of `current_event`, nor in part.
        return self._data()._db_for_partition(partition)  # noqa: SLF001

    async def put(self, partition: int, values: Mapping[bytes, bytes | None]) -> None:
        """Write values of the table, None for no more, in this order; the changelog has all of them when this returns."""
        store, waits = self.store(partition), []
        for key, value in values.items():
            if value is None:
                store.delete(key)
            else:
                store.put(key, value)
            waits.append(await self.send(self._changelog, key, value, partition))
        if waits:
            sent = await asyncio.gather(*waits)
            self._data().set_persisted_offset(sent[-1].topic_partition, sent[-1].offset)

    def compact(self, partition: int) -> None:
        """Write a partition's RocksDB anew: see `compact`."""
        compact(self.store(partition))

    def tidy(self, older_s: float) -> None:
        """Delete the RocksDB of each partition that this worker has not had for so long: if it comes back, the changelog makes it again."""
        mine = {tp.partition for tp in self.assigned(self.observed)}
        for partition in set(range(self._partitions)) - mine:
            drop_unused(Path(self._data().partition_path(partition)), older_s)

    def assigned(self, topic: Any) -> list[TP]:
        """List the partitions of a topic that this worker has now."""
        try:
            found = self.app.consumer.assignment()
        except ConsumerNotStarted:
            return []
        return [tp for tp in found if tp.topic == topic.get_topic_name()]

    def is_counting(self) -> bool:
        """Say whether it has joined and its tables are made."""
        recovery: Any = getattr(self.app.tables, "recovery", None)
        return (
            recovery is not None
            and self.app.started
            and not self.app.rebalancing
            and recovery.completed.is_set()
        )

    def _data(self) -> Any:
        return self.table.data

    def _topic(self, name: str) -> Any:
        return self.app.topic(
            name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )


def compact(store: Any) -> None:
    """Write a RocksDB anew without what was deleted, and without the values before. Blocks.

    Its list of files still has the first and the last key of each file that there was, until it is opened again.
    """
    thoroughly = CompactOptions()
    thoroughly.set_bottommost_level_compaction(BottommostLevelCompaction.force())
    store.compact_range(None, None, thoroughly)


def drop_unused(folder: Path, older_s: float) -> None:
    """Delete a folder if it is there and nothing in it was written for so long."""
    ages = [time.time() - each.stat().st_mtime for each in folder.glob("*")]
    if ages and min(ages) > older_s:
        shutil.rmtree(folder)
