"""The checks by name: each looks at one thing and says what it found. They share what they look through, and nothing else."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from pydantic_settings import BaseSettings

from goodstrace.connections import Tls
from goodstrace.policy import Policy
from services.audit.settings import AuditSettings
from services.audit.watch.settings import WatchSettings
from services.collector.runner import group_of
from services.collector.settings import CollectorSettings
from services.collector.stages import ORDER
from services.doctor.checks import clocks, connections, keys, lag, logs, store
from services.doctor.checks import topics as topic_checks
from services.doctor.checks.clocks import ClockSeen
from services.doctor.checks.lag import Place
from services.doctor.checks.logs import LogSeen
from services.doctor.seeing import asking, files
from services.doctor.seeing import store as seen_store
from services.doctor.seeing.brokers import Brokers, Waiting
from services.doctor.values import Finding, ok
from services.ledger.settings import CompletenessSettings, LedgerSettings, RootSettings
from services.query.settings import IndexAccessSettings, QuerySettings
from services.query.web.settings import WebSettings
from services.query.webhooks import store as webhooks
from services.runtime import topics
from services.runtime.access.settings import AccessSettings, LoginSettings, OidcSettings
from services.runtime.consumer_groups import consuming, folding
from services.runtime.errors import ServiceError, SettingsError
from services.runtime.mongo import Database, Mongo, beside
from services.runtime.outgoing import OutgoingSettings
from services.runtime.provision import ProvisionSettings
from services.runtime.settings import (
    KafkaSettings,
    LogSettings,
    MongoSettings,
    MonitoringSettings,
    OperatorSettings,
)
from services.runtime.tls import TlsSettings
from services.runtime.tracing.settings import TracingSettings
from services.runtime.vault.settings import VaultSettings
from services.sealing.key_sources import configured_keys, key_folder
from services.sealing.mongo import MongoBlockStore
from services.sealing.settings import KeySettings, SealSettings
from services.sealing.witness_settings import WitnessSettings, read_policy

S = TypeVar("S", bound=BaseSettings)
SETTINGS: Final[tuple[type[BaseSettings], ...]] = (
    KafkaSettings,
    MongoSettings,
    LogSettings,
    MonitoringSettings,
    KeySettings,
    OperatorSettings,
    VaultSettings,
    LoginSettings,
    TlsSettings,
    OutgoingSettings,
    WitnessSettings,
    SealSettings,
    AccessSettings,
    OidcSettings,
    TracingSettings,
    CollectorSettings,
    LedgerSettings,
    RootSettings,
    CompletenessSettings,
    QuerySettings,
    IndexAccessSettings,
    WebSettings,
    AuditSettings,
    WatchSettings,
    ProvisionSettings,
)
"""What the checks read, and behind it what services read alone: a variable that one of them would not start with is told here, too."""
Look = Callable[[], Awaitable[list[Finding]]]


class Looks:
    """The checks of one installation. Each raises ServiceError where it cannot look."""

    def __init__(
        self, settings: Sequence[BaseSettings], services: Sequence[tuple[str, str]], timeout_s: float
    ) -> None:
        """Look as the settings say, as far as they could be read, and at these services; one question may take `timeout_s`."""
        self._settings = {type(each): each for each in settings}
        self._services, self._timeout_s = services, timeout_s
        self._mongo: Mongo | None = None
        self._brokers: Brokers | None = None

    def checks(self) -> Mapping[str, Look]:
        """Give the checks, in the order of what they stand on."""
        return {
            "kafka": self._kafka,
            "mongodb": self._mongodb,
            "services": self._ready,
            "witnesses": self._witnesses,
            "topics": self._topics,
            "indexes": self._indexes,
            "clocks": self._clocks,
            "secrets": self._secrets,
            "keys": self._log_keys,
            "certificates": self._certificates,
            "lag": self._lag,
            "logs": self._logs,
            "fsck": self._fsck,
            "backup": self._backup,
            "disk": self._disk,
        }

    def close(self) -> None:
        """Close all connections."""
        if self._mongo is not None:
            self._mongo.close()

    # -- what is looked through

    def _of(self, kind: type[S]) -> S:
        found = self._settings.get(kind)
        if not isinstance(found, kind):
            raise SettingsError("settings that this needs are wrong: see the check `settings`")
        return found

    def _database(self) -> Database:
        if self._mongo is None:
            told = self._of(MongoSettings)
            within_ms = min(told.timeout_ms, int(self._timeout_s * 1000))
            self._mongo = Mongo(told.model_copy(update={"timeout_ms": within_ms}))
        return self._mongo.database

    def _vault(self, database: Database) -> Database:
        return beside(database, self._of(VaultSettings).database_beside(database.name))

    def _asked(self) -> Brokers:
        if self._brokers is None:
            self._brokers = Brokers(self._of(KafkaSettings).bootstrap_servers, self._timeout_s)
        return self._brokers

    def _outgoing(self) -> Tls:
        return self._of(OutgoingSettings).tls()

    def _declared(self) -> tuple[topics.Topic, ...]:
        told = self._of(KafkaSettings)
        return topics.declared(told.topic_prefix, told.partitions, told.browse_partitions, told.replication)

    def _policy(self) -> tuple[Policy | None, list[tuple[str, str]]]:
        told = self._of(WitnessSettings)
        if not told.policy:
            return None, []
        policy, _ = read_policy(told.policy, told.timeout_ms / 1000)
        return policy, [(each.name, each.url) for each in policy.witnesses if each.url]

    async def _ends(self) -> dict[Place, int]:
        brokers, names = self._asked(), [each.name for each in self._declared()]
        there = await asyncio.to_thread(brokers.topics, names)
        return await asyncio.to_thread(brokers.ends, list(there.values()))

    # -- the checks

    async def _kafka(self) -> list[Finding]:
        cluster, count = await asyncio.to_thread(self._asked().cluster)
        return [ok(f"cluster {cluster}, {count} brokers")]

    async def _mongodb(self) -> list[Finding]:
        database = self._database()
        assert self._mongo is not None
        await self._mongo.ping()
        return [ok(f"answers; database {database.name}")]

    async def _ready(self) -> list[Finding]:
        seen, _ = await asking.services(self._services, self._outgoing(), self._timeout_s)
        return connections.check_services(seen)

    async def _witnesses(self) -> list[Finding]:
        policy, named = self._policy()
        seen = await asking.witnesses(named, self._timeout_s)
        left = policy is None or policy.is_satisfied([each.name for each in seen if not each.away])
        found = connections.check_witnesses(seen, quorum_left=left)
        if policy is None:
            return found
        return [*found, *logs.check_cosignatures(await seen_store.logs_seen(self._database(), policy))]

    async def _topics(self) -> list[Finding]:
        declared = self._declared()
        there = await asyncio.to_thread(self._asked().topics, [each.name for each in declared])
        return topic_checks.check_topics(declared, there)

    async def _indexes(self) -> list[Finding]:
        database = self._database()
        vault = self._vault(database)
        wanted = seen_store.wanted_indexes(database.name, vault.name)
        if not await seen_store.has_webhooks(database):
            for collection in webhooks.INDEXES:  # only who runs webhooks makes them
                wanted.pop((database.name, collection))
        there = {}
        for each in (database, vault):
            listed = [collection for name, collection in wanted if name == each.name]
            for collection, indexes in (await seen_store.indexes_there(each, listed)).items():
                there[each.name, collection] = indexes
        return store.check_indexes(wanted, there)

    async def _clocks(self) -> list[Finding]:
        asked = await asyncio.gather(
            self._service_clocks(), self._store_clocks(), self._kafka_clock(), return_exceptions=True
        )
        seen = [clock for each in asked if isinstance(each, list) for clock in each]
        return clocks.check_clocks(seen)  # what did not answer is told by the checks of connections

    async def _service_clocks(self) -> list[ClockSeen]:
        return (await asking.services(self._services, self._outgoing(), self._timeout_s))[1]

    async def _store_clocks(self) -> list[ClockSeen]:
        ahead_s = await seen_store.store_ahead_s(self._database())
        found = [ClockSeen("the clock of MongoDB", ahead_s)] if ahead_s is not None else []
        block_s = await seen_store.newest_block_s(self._database())
        return [*found, *([_past("the newest block", block_s)] if block_s is not None else [])]

    async def _kafka_clock(self) -> list[ClockSeen]:
        brokers, names = self._asked(), [each.name for each in self._declared()]
        there = await asyncio.to_thread(brokers.topics, names)
        newest_s = await asyncio.to_thread(brokers.newest_s, list(there.values()))
        return [_past("the newest record in Kafka", newest_s)] if newest_s is not None else []

    async def _secrets(self) -> list[Finding]:
        logs_of, login = self._of(LogSettings), self._of(LoginSettings)
        seen = [
            *files.private_keys(logs_of.key_dir),
            files.secret(logs_of.index_secret_file, "index secret"),
            files.secret(self._of(OperatorSettings).operator_token_file, "operator token"),
            files.secret(self._of(VaultSettings).key_file, "keys of the vault"),
            files.secret(login.secret_file, "login secret"),
            *files.private_keys(login.key_dir),
        ]
        kafka, mongo = self._of(KafkaSettings), self._of(MongoSettings)
        named = {
            "password for Kafka": kafka.sasl_password_file,
            "key for Kafka": kafka.ssl_key_file,
            "password for MongoDB": mongo.password_file,
            "certificate and key for MongoDB": mongo.mongo_cert_file,
            "key of the certificate that ports show": self._of(TlsSettings).key_file,
            "passphrase of the logs' keys": self._of(KeySettings).key_passphrase_file,
        }
        told = [files.secret(path, of, "whoever gave it") for of, path in named.items() if path is not None]
        return keys.check_files([*seen, *told])

    async def _log_keys(self) -> list[Finding]:
        self._of(KeySettings), self._of(LogSettings)
        infos = await MongoBlockStore(self._database()).logs()
        return keys.check_log_keys(
            await asyncio.to_thread(files.log_keys, infos, configured_keys(), key_folder())
        )

    async def _certificates(self) -> list[Finding]:
        kafka, mongo, tls = self._of(KafkaSettings), self._of(MongoSettings), self._of(TlsSettings)
        named: list[Path | None] = [
            tls.client_ca_file,
            self._of(OutgoingSettings).ca_file,
            kafka.ssl_ca_file,
            kafka.ssl_cert_file,
            mongo.mongo_ca_file,
            mongo.mongo_cert_file,
        ]
        believed = sorted({each for each in named if each is not None and each != Path()})
        return keys.check_certificates(files.certificates(tls, believed))

    async def _lag(self) -> list[Finding]:
        ends, settings = await self._ends(), self._of(KafkaSettings)
        inner = [group_of(settings, stage) for stage in ORDER[1:]]
        ours = {group_of(settings, ORDER[0]), *inner, *consuming(settings)}
        groups, others = await asyncio.to_thread(self._asked().groups, ends, ours)
        full = {topic for (topic, _), end in ends.items() if end > 0}
        expected = [name for name, topic in folding(settings).items() if topic in full]
        return lag.check_lag(groups, moved_by_others=inner, expected=expected, others=others)

    async def _logs(self) -> list[Finding]:
        database = self._database()
        seen, places = await seen_store.logs_seen(database, None), await seen_store.next_offsets(database)
        try:
            ends = await self._ends()
            waiting = await asyncio.to_thread(self._asked().waiting, dict(places.values()), ends)
        except ServiceError:  # the check `kafka` says so
            waiting = {}
        of = {log: waiting[place] for log, (place, _) in places.items() if place in waiting}
        return logs.check_logs([_with_waiting(each, of.get(each.log)) for each in seen])

    async def _fsck(self) -> list[Finding]:
        names = [info.name for info in await MongoBlockStore(self._database()).logs()]
        return logs.check_fsck(names, await seen_store.fsck_seen(self._database()))

    async def _backup(self) -> list[Finding]:
        return logs.check_backup(*await seen_store.backup_seen(self._database()))

    async def _disk(self) -> list[Finding]:
        seen = [files.room(self._of(LogSettings).key_dir)]
        try:
            of_store = await seen_store.store_room(self._database())
        except ServiceError:  # the check `mongodb` says so
            of_store = None
        return store.check_room([*seen, *([of_store] if of_store is not None else [])])


def _with_waiting(seen: LogSeen, waiting: Waiting | None) -> LogSeen:
    if waiting is None:
        return seen
    waiting_s = time.time() - waiting.since_s if waiting.since_s is not None else None
    return msgspec.structs.replace(seen, waiting=waiting.records, waiting_s=waiting_s)


def _past(what: str, at_s: float) -> ClockSeen:
    return ClockSeen(what, at_s - time.time(), is_past=True)
