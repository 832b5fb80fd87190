"""Where the groups are that keep in the store what they read: noted with a copy, and set back when it is restored."""

from typing import Final

from services.backup.errors import BackupError
from services.backup.values import GroupOffsets
from services.runtime import consumer_groups, kafka
from services.runtime.settings import KafkaSettings

TIMEOUT_S: Final = 20.0


def positions(settings: KafkaSettings) -> list[GroupOffsets]:
    """Tell where they are now. Raises: UnavailableError."""
    admin = kafka.admin_client(settings.bootstrap_servers)
    found = []
    for group in consumer_groups.folding(settings):
        places = consumer_groups.committed(admin, group, TIMEOUT_S)
        found.append(GroupOffsets(group, [(*place, offset) for place, offset in sorted(places.items())]))
    return found


def check_stopped(settings: KafkaSettings) -> None:
    """Make sure that no service runs that reads into the store. Raises: BackupError, UnavailableError."""
    admin = kafka.admin_client(settings.bootstrap_servers)
    for group in consumer_groups.folding(settings):
        if consumer_groups.members(admin, group, TIMEOUT_S):
            raise BackupError(f"the group {group} has members: stop all services first")


def set_back(settings: KafkaSettings, noted: list[GroupOffsets]) -> int:
    """Let them read again from where they were; gives how many groups. One that had read nothing begins with the first record.

    Raises: ConflictError, UnavailableError.
    """
    admin = kafka.admin_client(settings.bootstrap_servers)
    ours = consumer_groups.folding(settings)
    count = 0
    for each in noted:
        if each.group not in ours:
            raise BackupError(
                f"the backup is of the group {each.group}, and GOODSTRACE_TOPIC_PREFIX is another now"
            )
        now = consumer_groups.committed(admin, each.group, TIMEOUT_S)
        back = {
            **dict.fromkeys(now, 0),
            **{(topic, partition): offset for topic, partition, offset in each.offsets},
        }
        if back:
            consumer_groups.set_back(admin, each.group, back, TIMEOUT_S)
            count += 1
    return count
