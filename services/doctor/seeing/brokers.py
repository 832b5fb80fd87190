"""What Kafka says: topics, groups and times. Every function blocks, bounds its own time, and raises UnavailableError."""

import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec  # type: ignore[attr-defined]

from services.doctor.checks.lag import GroupSeen
from services.doctor.checks.topics import TopicSeen
from services.runtime import kafka
from services.runtime.consumer_groups import Place, committed_each

_MOVES_S: Final = 1.5
_AT_ONCE: Final = 16
_PEEK: Final = "goodstrace.doctor"  # only a name: partitions are assigned by hand, and nothing is committed
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_NEWEST: Final = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]


class Waiting(msgspec.Struct, frozen=True):
    """Records of a partition that wait: how many at the most, and when the first of them was written (Unix s), None where that was not seen."""

    records: int
    since_s: float | None = None


class Brokers:
    """One Kafka, asked through one client."""

    def __init__(self, bootstrap: str, timeout_s: float) -> None:
        """Prepare to ask; each question may take `timeout_s`. Raises: SettingsError."""
        self._bootstrap = bootstrap
        self._admin: AdminClient = kafka.admin_client(bootstrap, log_level=kafka.SILENT)
        self._timeout_s = timeout_s

    def cluster(self) -> tuple[str, int]:
        """Give the cluster's ID and how many brokers there are."""
        with kafka.translated():
            self._admin.list_topics(timeout=self._timeout_s)  # says why it cannot be reached
            told = self._admin.describe_cluster(request_timeout=self._timeout_s).result(self._timeout_s)
        return str(told.cluster_id), len(told.nodes)

    def topics(self, names: Iterable[str]) -> dict[str, TopicSeen]:
        """Give those of these topics that are there."""
        with kafka.translated():
            listed = self._admin.list_topics(timeout=self._timeout_s).topics
            there = [name for name in names if name in listed and listed[name].error is None]
            if not there:
                return {}
            described = self._admin.describe_topics(TopicCollection(there), request_timeout=self._timeout_s)
            resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in there]
            configs = self._admin.describe_configs(resources, request_timeout=self._timeout_s)
            config = {
                resource.name: {
                    key: str(entry.value) for key, entry in future.result(self._timeout_s).items()
                }
                for resource, future in configs.items()
            }
            return {
                name: _topic(name, described[name].result(self._timeout_s), config[name]) for name in there
            }

    def ends(self, topics: Iterable[TopicSeen]) -> dict[Place, int]:
        """Tell the offset after the last committed record of each partition."""
        places = [TopicPartition(each.name, n) for each in topics for n in range(each.partitions)]
        return self._offsets(places, _LATEST)

    def newest_s(self, topics: Iterable[TopicSeen]) -> float | None:
        """Give the latest time that any record states (of the producer's clock, Unix seconds), None where there is no record."""
        places = [TopicPartition(each.name, n) for each in topics for n in range(each.partitions)]
        times = [found.timestamp / 1000 for found in self._listed(places, _NEWEST).values()]
        return max((each for each in times if each > 0), default=None)

    def groups(self, ends: Mapping[Place, int], ours: Collection[str]) -> tuple[list[GroupSeen], list[str]]:
        """Give those of `ours` that read the partitions of `ends`, seen at two moments; and the names of all others' groups."""
        wanted = {topic for topic, _ in ends}
        with kafka.translated():
            listed = self._admin.list_consumer_groups(request_timeout=self._timeout_s).result(self._timeout_s)
            names = sorted(each.group_id for each in listed.valid)
            others = [name for name in names if name not in ours]
            before = self._committed([name for name in names if name in ours], wanted)
            if not before:
                return [], others
            described = self._admin.describe_consumer_groups(list(before), request_timeout=self._timeout_s)
            members = {
                name: len(future.result(self._timeout_s).members) for name, future in described.items()
            }
            time.sleep(min(_MOVES_S, self._timeout_s / 4))
            after = {**before, **self._committed(list(before), wanted)}
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="groups") as threads:
            waiting = dict(
                zip(after, threads.map(lambda now: self.waiting(now, ends), after.values()), strict=True)
            )
        return [
            GroupSeen(
                name,
                members[name],
                places,
                after[name],
                {place: each.records for place, each in waiting[name].items()},
            )
            for name, places in before.items()
        ], others

    def waiting(self, offsets: Mapping[Place, int], ends: Mapping[Place, int]) -> dict[Place, Waiting]:
        """Tell how many records wait from these offsets on; markers of transactions, behind which nothing comes, are none.

        Where a record does wait they are counted with it: how many there are, only reading would tell.
        """
        behind = {place: offset for place, offset in offsets.items() if ends.get(place, 0) > offset}
        if not behind:
            return {}
        reader = kafka.consumer(self._bootstrap, _PEEK, partition_eof=True)
        try:
            with kafka.translated():
                reader.assign([TopicPartition(*place, offset) for place, offset in behind.items()])
                at_end, times = self._first(reader, set(behind))
        finally:
            reader.close()
        return {
            place: Waiting(ends[place] - offset, times.get(place))
            for place, offset in behind.items()
            if place not in at_end
        }

    def _first(self, reader: Consumer, places: set[Place]) -> tuple[set[Place], dict[Place, float]]:
        """Read until each partition has given a record or its end; gives those that ended without one, and when the others' records were written."""
        left, at_end, times = set(places), set[Place](), dict[Place, float]()
        until = time.monotonic() + self._timeout_s / 2
        while left and time.monotonic() < until:
            for message in reader.consume(100, 0.05):
                place = (str(message.topic()), int(message.partition() or 0))
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF and place in left:  # noqa: SLF001
                    at_end.add(place)
                if error is None:
                    kind, written_ms = message.timestamp()
                    if kind != TIMESTAMP_NOT_AVAILABLE and place in left:
                        times[place] = written_ms / 1000
                if error is None or place in at_end:
                    left.discard(place)
        return at_end, times

    def _committed(self, groups: list[str], topics: set[str]) -> dict[str, dict[Place, int]]:
        """Give the committed offsets of groups in our topics; groups that have none are left out."""
        found = {}
        for name, places in committed_each(self._admin, groups, self._timeout_s).items():
            ours = {place: offset for place, offset in places.items() if place[0] in topics}
            if ours:
                found[name] = ours
        return found

    def _offsets(self, places: list[TopicPartition], of: OffsetSpec) -> dict[Place, int]:
        return {place: int(found.offset) for place, found in self._listed(places, of).items()}

    def _listed(self, places: list[TopicPartition], of: OffsetSpec) -> dict[Place, Any]:
        if not places:
            return {}
        with kafka.translated():
            futures = self._admin.list_offsets(dict.fromkeys(places, of), request_timeout=self._timeout_s)
            return {
                (place.topic, place.partition): future.result(self._timeout_s)
                for place, future in futures.items()
            }


def _topic(name: str, told: Any, config: Mapping[str, str]) -> TopicSeen:
    partitions = told.partitions
    return TopicSeen(
        name,
        len(partitions),
        replicas=min(len(each.replicas) for each in partitions),
        in_sync=min(len(each.isr) for each in partitions),
        leaderless=sum(each.leader is None for each in partitions),
        config=config,
    )
