"""Where the groups are that keep in the store what they read: noted with a copy, and set back when it is restored."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from services.backup.errors import BackupError
from services.backup.values import GroupOffsets
from services.runtime import consumer_groups, kafka, topics
from services.runtime.consumer_groups import Place
from services.runtime.settings import KafkaSettings

TIMEOUT_S: Final = 20.0
LOOKS: Final = frozenset((topics.BROWSE_WATCHED,))
"""What is kept in the vault beside its keys follows from this topic."""


class SetBack(msgspec.Struct, frozen=True):
    """How many groups were set back, and of which partitions Kafka no longer holds all looks that are to be read again."""

    groups: int
    gone: tuple[Place, ...] = ()


def positions(settings: KafkaSettings, of: Collection[str] | None = None) -> list[GroupOffsets]:
    """Tell where they are now; only those that read a topic of `of`, where that is given. Raises: UnavailableError."""
    admin = kafka.admin_client(settings.bootstrap_servers)
    wanted = None if of is None else {settings.topic(name) for name in of}
    found = []
    for group, topic in consumer_groups.folding(settings).items():
        if wanted is None or topic in wanted:
            places = consumer_groups.committed(admin, group, TIMEOUT_S)
            noted = [(*place, offset) for place, offset in sorted(places.items())]
            found.append(GroupOffsets(group, noted))
    return found


def check_ours(settings: KafkaSettings, noted: Sequence[GroupOffsets]) -> None:
    """Make sure that a copy's groups are those that there are by these settings. Raises: BackupError."""
    ours = consumer_groups.folding(settings)
    for each in noted:
        if each.group not in ours:
            raise BackupError(
                f"the backup is of the group {each.group}, and GOODSTRACE_TOPIC_PREFIX is another now"
            )


def check_stopped(settings: KafkaSettings) -> None:
    """Make sure that no service runs that reads into the store. Raises: BackupError, UnavailableError."""
    admin = kafka.admin_client(settings.bootstrap_servers)
    for group in consumer_groups.folding(settings):
        if consumer_groups.members(admin, group, TIMEOUT_S):
            raise BackupError(f"the group {group} has members: stop all services first")


def lowest(*noted: Sequence[GroupOffsets]) -> dict[str, dict[Place, int]]:
    """Give from where each group must read for all copies that noted it; 0 where one of these had read nothing of a partition. Pure."""
    found: dict[str, list[dict[Place, int]]] = {}
    for each in (group for copy in noted for group in copy):
        places = {(topic, partition): offset for topic, partition, offset in each.offsets}
        found.setdefault(each.group, []).append(places)
    return {
        group: {place: min(each.get(place, 0) for each in copies) for place in set().union(*copies)}
        for group, copies in found.items()
    }


def set_back(settings: KafkaSettings, wanted: Mapping[str, Mapping[Place, int]]) -> SetBack:
    """Let groups read again from where they were. What one had not read then begins with the first record.

    Raises: ConflictError, UnavailableError.
    """
    admin, looks = kafka.admin_client(settings.bootstrap_servers), set(map(settings.topic, LOOKS))
    count, gone = 0, set[Place]()
    for group, places in wanted.items():
        now = consumer_groups.committed(admin, group, TIMEOUT_S)
        back = {**dict.fromkeys(now, 0), **places}
        if back:
            consumer_groups.set_back(admin, group, back, TIMEOUT_S)
            oldest = consumer_groups.oldest(admin, [each for each in back if each[0] in looks], TIMEOUT_S)
            gone |= {place for place, low in oldest.items() if back[place] < low}
            count += 1
    return SetBack(count, tuple(sorted(gone)))
